"""The sequences of tokens that break repetitions, for the sampler DRY."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ...tokenizer import IdsOnly, Tokenizer
from ..sampling.chain import Breakers


def sequence_breakers(tokenizer: Tokenizer | IdsOnly, strings: Sequence[str]) -> Breakers:
    """First id -> the ids that follow it, for each way in which one of `strings` may come in tokens: within a
    single one, after which nothing follows, or begun by the end of one. Without text there are none."""
    found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    if isinstance(tokenizer, IdsOnly):
        return found
    words = [tokenizer.token_bytes(id_, skip_special_tokens=False) for id_ in range(tokenizer.n_vocab)]
    for string in strings:
        whole = string.encode()
        tails = {
            string[:i].encode(): tuple(tokenizer.encode(string[i:], add_special=False))
            for i in range(1, len(string))
        }
        for id_, word in enumerate(words):
            if whole in word:
                found[id_].append(())
            else:
                found_here = [tail for begin, tail in tails.items() if word.endswith(begin)]
                if found_here:
                    found[id_] += found_here
    return found

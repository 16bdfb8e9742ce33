"""Tokens that are not text: which ones there are, and where they stand in a text."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping

# GGUF has no field for "generation ends here", so these are known by their text, as in llama.cpp
# (llama-vocab.cpp, special_eog_ids). Gemma's "</s>", a tag of HTML, is among them: llama.cpp stops there too.
END_OF_GENERATION = frozenset(
    {
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",  # gpt-oss
        "<|call|>",  # gpt-oss
        "<|flush|>",  # Solar Open
        "<|calls|>",  # Solar Open
        "<end_of_turn>",
        "<|endoftext|>",
        "</s>",
        "<|eom_id|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",  # Kimi K2
        "[EOS]",  # Kimi K2
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<eos>",
        "<turn|>",  # Gemma 4
        "<|tool_response>",  # Gemma 4
        "<｜end▁of▁sentence｜>",  # DeepSeek
        "[e~[",  # MiniMax M2
        # what a code model writes after the gap that it was to fill
        *("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
        *("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
        "<|file_sep|>",
    }
)

# The marks around the gap that a code model is to fill: they control too, but end nothing.
FILL_IN_THE_MIDDLE = frozenset(
    {
        *("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"),
        *("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"),
        *("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"),
        *("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM 4.5
        *("<|prefix|>", "<|suffix|>", "<|middle|>"),  # Falcon-H1 Tiny Coder
    }
)


def control_texts(vocabulary: Container[str]) -> list[str]:
    """The tokens of the vocabulary that are CONTROL by their text, even if the file types them otherwise.

    Otherwise the plain text of a message could end its own turn.
    """
    return [text for text in END_OF_GENERATION | FILL_IN_THE_MIDDLE if text in vocabulary]


def end_of_generation_ids(ids: Mapping[str, int], marked: Iterable[int | None]) -> frozenset[int]:
    """The ids after which a model has nothing more to say: by their text, and those that the file marks.

    Two families use a token of that list in the middle of their answers.
    """
    texts = {text for text in END_OF_GENERATION if text in ids}
    if {"<|return|>", "<|call|>"} <= texts or ({"<|flush|>"} < texts and texts & {"<|call|>", "<|calls|>"}):
        texts.discard("<|end|>")  # gpt-oss, Solar Open: ends one channel of an answer
    if "<|tool_response>" in texts:
        texts.discard("</s>")  # Gemma 4: HTML
    return frozenset(ids[text] for text in texts) | {id_ for id_ in marked if id_ is not None}


class SpecialTokenSplitter:
    """Cuts a text at special tokens: from the left, and the longest where several begin at one place.

    Thousands of tokens with a handful of beginnings are usual (Gemma: `<unused0>` to `<unused6241>`). So a
    regular expression looks for the first characters of all tokens, a dictionary tells by the first two which
    lengths there are, and another one finds the token.
    """

    def __init__(self, ids: Mapping[str, int], stripping: Container[int] = ()) -> None:
        """`ids`: text of each special token -> id. Those in `stripping` swallow white space after them."""
        self._ids = ids
        self._stripping = stripping
        lengths: dict[str, set[int]] = {}
        for text in ids:
            lengths.setdefault(text[:2], set()).add(len(text))
        for beginning in lengths:  # where a longer token may begin, one of a single character may stand, too
            lengths[beginning] |= lengths.get(beginning[0], set())
        self._lengths = {beginning: sorted(found, reverse=True) for beginning, found in lengths.items()}
        firsts = "".join(map(re.escape, sorted({beginning[0] for beginning in lengths})))
        self._find_first = re.compile(f"[{firsts}]" if firsts else "(?!)").search

    def split(self, text: str) -> Iterator[str | int]:
        """The parts of `text` in order: ids of special tokens, and the text between them, never empty."""
        start = position = 0
        while first := self._find_first(text, position):
            position = first.start()
            length = self._length_at(text, position)
            if not length:
                position += 1
                continue
            if start < position:
                yield text[start:position]
            id_ = self._ids[text[position : position + length]]
            yield id_
            start = position = self._end(text, position + length, id_)
        if start < len(text):
            yield text[start:]

    def _length_at(self, text: str, position: int) -> int:
        """The length of the longest special token that begins there, 0 if there is none."""
        lengths = self._lengths.get(text[position : position + 2]) or self._lengths.get(text[position], [])
        for length in lengths:
            if text[position : position + length] in self._ids:
                return length
        return 0

    def _end(self, text: str, position: int, id_: int) -> int:
        if id_ in self._stripping:
            while position < len(text) and text[position] in " \t\n\v\f\r":
                position += 1
        return position

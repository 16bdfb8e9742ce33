"""Special tokens: which there are, and where they occur in a text."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from .longest_match import LongestMatch
from .special_ids import GAP_FAMILIES

_WHITE_SPACE = " \t\n\v\f\r"

BYTE_NAMES = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}
"""The name of each byte token -> its byte."""

# GGUF has no field for tokens that end generation, so they are known by their text, as in llama.cpp
# (llama-vocab.cpp, special_eog_ids). Gemma's "</s>", an HTML tag, is among them: llama.cpp stops there too.
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
        # of code models, after they have filled a gap
        *("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
        *("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
        "<|file_sep|>",
    }
)

# The marks between the parts of a gpt-oss answer. They are CONTROL, or the text of a message could begin
# another message. But they are shown, as in llama.cpp: without them the parts could not be told apart.
STRUCTURE = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})

# In a vocabulary with one of these, "</s>" is an HTML tag.
_HTML_MODELS = ("<|tool_response>", "<|plamo:eos|>")  # Gemma 4, PLaMo


def control_texts(vocabulary: Container[str]) -> list[str]:
    """The tokens of the vocabulary that are CONTROL by their text, whatever their type in the file: else the
    plain text of a message could end its turn."""
    texts = END_OF_GENERATION.union(STRUCTURE, *GAP_FAMILIES)
    if any(text in vocabulary for text in _HTML_MODELS):
        texts -= {"</s>"}
    return [text for text in texts if text in vocabulary]


def structure_ids(ids: Mapping[str, int]) -> frozenset[int]:
    """The ids of control tokens that are shown even where control tokens are left out of a text."""
    return frozenset(ids[text] for text in STRUCTURE | _inner_ends(ids) if text in ids)


def end_of_generation_ids(ids: Mapping[str, int], marked: Iterable[int]) -> frozenset[int]:
    """The ids that end generation: by their text, and those that the file marks."""
    texts = END_OF_GENERATION - _inner_ends(ids)
    return frozenset(ids[text] for text in texts if text in ids) | frozenset(marked)


def _inner_ends(vocabulary: Container[str]) -> set[str]:
    """The tokens of END_OF_GENERATION that this vocabulary's model uses in the middle of an answer."""

    def has_one_of(*texts: str) -> bool:
        return any(text in vocabulary for text in texts)

    inner = set()
    if has_one_of("<|return|>", "<|flush|>") and has_one_of("<|call|>", "<|calls|>"):
        inner.add("<|end|>")  # gpt-oss, Solar Open: ends one channel of an answer
    if has_one_of(*_HTML_MODELS):
        inner.add("</s>")
    return inner


def stripping_ids(
    metadata: Mapping[str, Any], ids: Mapping[str, int], special: Iterable[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """The special tokens that remove white space after them, and those that remove it before them.

    GGUF has no field for that, so it depends on the name of the model, as in llama.cpp.
    """

    def says(key: str, *names: str) -> bool:
        value = metadata.get(key)
        return isinstance(value, str) and any(name in value.lower() for name in names)

    after: set[int] = set()
    before: set[str] = set()
    if says("tokenizer.ggml.pre", "jina-v2-de", "jina-v2-es", "jina-v2-code") or says(
        "general.architecture", "nomic-bert-moe", "jina-bert-v3"
    ):
        before = {"<mask>"}
    elif says("general.name", "phi-3", "phi3"):
        after = {*special} - {ids.get(text) for text in ("<unk>", "<s>", "<|endoftext|>")}
    elif says("general.name", "modern-bert"):
        before = {"[MASK]"}
    return frozenset(after), frozenset(ids[text] for text in before & ids.keys())


class SpecialTokenSplitter:
    """Cuts a text at special tokens: from the left, the longest where several begin at one position.

    Vocabularies have thousands of tokens with few beginnings (Gemma: `<unused0>` to `<unused6241>`). So a
    regular expression finds the first character of any token, and `LongestMatch` the token.
    """

    def __init__(
        self, ids: Mapping[str, int], strip_after: Container[int] = (), strip_before: Container[int] = ()
    ) -> None:
        """`ids`: text of each special token -> id; the other two: ids that remove white space beside them."""
        self._ids = ids
        self._strip_after, self._strip_before = strip_after, strip_before
        self._longest = LongestMatch(ids.keys())
        firsts = "".join(map(re.escape, sorted({text[0] for text in ids})))
        self._find_first = re.compile(f"[{firsts}]" if firsts else "(?!)").search

    def split(self, text: str) -> Iterator[str | int]:
        """The parts of `text` in order: ids of special tokens, and the text between them, never empty."""
        start = position = 0
        while first := self._find_first(text, position):
            position = first.start()
            length = self._longest.length_at(text, position)
            if not length:
                position += 1
                continue
            id_ = self._ids[text[position : position + length]]
            between = text[start:position]
            if id_ in self._strip_before:
                between = between.rstrip(_WHITE_SPACE)
            if between:
                yield between
            yield id_
            start = position = self._end(text, position + length, id_)
        if start < len(text):
            yield text[start:]

    def _end(self, text: str, position: int, id_: int) -> int:
        if id_ in self._strip_after:
            while position < len(text) and text[position] in _WHITE_SPACE:
                position += 1
        return position

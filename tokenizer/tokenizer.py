"""The tokenizer of a GGUF file: text to token ids and back, as its model was trained."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Self

from ..errors import GGUFUnsupportedError, ModelError, RequestError
from ..gguf_io.display import Shown, brief
from ..gguf_io.file import GGUFFile, load_gguf
from ..gguf_io.file_kind import other_kind
from ..system.asker import check_asker, while_asked
from .bpe import BPE
from .detokenizer import StreamDecoder
from .keys import warn_of_unknown_keys
from .model import TokenizerModel
from .plamo2 import PLaMo2
from .rwkv import RWKV
from .special_tokens import SpecialTokenSplitter
from .spm import SentencePieceBPE
from .unigram import Unigram
from .vocabulary import SPECIAL, TokenType, read_text
from .wordpiece import WordPiece

_log = logging.getLogger(__name__)


MODELS: dict[str, type[TokenizerModel]] = {
    "llama": SentencePieceBPE,
    "gpt2": BPE,
    "bert": WordPiece,
    "t5": Unigram,
    "gemma4": BPE,
    "whitespace": BPE,
    "rwkv": RWKV,
    "plamo2": PLaMo2,
}
_NO_MODEL = ("none", "no_vocab")

_SILENT = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.UNUSED)


def has_tokenizer(file: GGUFFile) -> bool:
    """False if the file has no vocabulary: its model is then used with ids alone."""
    if "tokenizer.ggml.model" in file.metadata:
        return file.metadata["tokenizer.ggml.model"] not in _NO_MODEL
    return "tokenizer.ggml.tokens" in file.metadata


class Tokenizer(Shown):
    """Text <-> ids. Made by `from_gguf`; several threads may use it at once.

    n_vocab                                 number of ids
    bos_id, eos_id, unk_id, pad_id, sep_id  the ids with these roles, or None
    add_bos, add_eos, add_sep               what `encode` adds when asked to add special tokens
    eog_ids                                 all ids after which generation ends, `eos_id` among them
    suppressed_ids                          the ids that are never generated, (n,) intp
    control_ids                             the ids that are no text: of types CONTROL, UNKNOWN and UNUSED
    """

    def __init__(self, model: TokenizerModel) -> None:
        vocabulary = model.vocabulary
        self.n_vocab = len(vocabulary)
        self.bos_id, self.eos_id, self.sep_id = vocabulary.bos_id, vocabulary.eos_id, vocabulary.sep_id
        self.unk_id, self.pad_id = vocabulary.unk_id, vocabulary.pad_id
        self.eog_ids = vocabulary.eog_ids
        self.suppressed_ids = vocabulary.suppressed_ids
        self.add_bos = _added("bos", vocabulary.add_bos, model.add_bos, self.bos_id, vocabulary.source)
        self.add_eos = _added("eos", vocabulary.add_eos, model.add_eos, self.eos_id, vocabulary.source)
        self.add_sep = model.add_sep and self.sep_id is not None
        self._model = model
        self._vocabulary = vocabulary
        self.control_ids = frozenset(vocabulary.ids_of_type(*_SILENT))
        self._silent = self.control_ids - vocabulary.structure_ids
        self._special = frozenset(vocabulary.ids_of_type(*SPECIAL))
        self._bytes: dict[int, bytes] = {}
        self._warned_of: set[str] = set()

    @classmethod
    def from_gguf(cls, file: str | os.PathLike[str] | GGUFFile) -> Self:
        """The tokenizer of a GGUF file, given by its path or open.

        Raises GGUFUnsupportedError for a kind of tokenizer or a pre-tokenizer that nybble does not know (ask
        `has_tokenizer` first where a file may have none), ModelError if its tables are missing or contradict
        each other or the embedding, and what `load_gguf` raises.
        """
        if not isinstance(file, GGUFFile):
            with load_gguf(file) as opened:
                return cls.from_gguf(opened)
        kind = other_kind(file)
        if kind is not None and not has_tokenizer(file):
            raise ModelError(f"{file.path} has no tokenizer: this is {kind.name}")
        tokenizer = cls.from_metadata(file.metadata, file.path)
        embedding = file.tensors.get("token_embd.weight")
        if embedding is not None and embedding.shape[0] != tokenizer.n_vocab:
            raise ModelError(
                f"{file.path}: the vocabulary has {tokenizer.n_vocab} tokens, but token_embd.weight has "
                f"{embedding.shape[0]} rows"
            )
        return tokenizer

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], source: str) -> Self:
        """The tokenizer that a file's metadata describes; `source` names the file in messages."""
        kind = read_text(metadata, source, "model")
        if kind is None:
            raise ModelError(f"{source}: tokenizer.ggml.model is missing, so the file has no tokenizer")
        if kind in _NO_MODEL:
            raise GGUFUnsupportedError(
                f"{source}: tokenizer.ggml.model is {kind!r}: the file has no tokenizer, only ids"
            )
        if kind not in MODELS:
            raise GGUFUnsupportedError(
                f"{source}: tokenizer.ggml.model is {kind[:40]!r}; nybble reads {', '.join(MODELS)}"
            )
        warn_of_unknown_keys(metadata, source)
        model = MODELS[kind](metadata, source)
        return cls(model)

    def encode(
        self, text: str, add_special: bool = True, parse_special: bool = False, mark: str = ""
    ) -> list[int]:
        """The ids of `text`.

        `add_special` puts BOS before and EOS or SEP after it, where the file asks for that. If the text has
        them already, they are there twice, and the first time a warning says so. `parse_special` reads the
        text of a control token, such as `<|im_start|>`, as that token: use it only for trusted text. Tokens
        of type USER_DEFINED are read in either case.

        `mark`: a character that is left out of the text, after control tokens were looked for: in
        "<|im_start|>a<?|im_end|>", with the mark "?", the second one is plain text.

        Raises TypeError if `text` is no str, RequestError if it holds lone surrogates, which are no
        characters.
        """
        check_asker()
        _check_text(text)
        ids = self._text_ids(text, parse_special, mark, self._model.add_space_prefix)
        if not add_special:
            return ids
        begin, end = self._added_ids()
        if begin and ids[:1] == begin:
            self._warn_once("begins with BOS", ids[0])
        if ids and ids[-1] in end:
            self._warn_once(f"ends with {'EOS' if ids[-1] == self.eos_id else 'SEP'}", ids[-1])
        return [*begin, *ids, *end]

    def infill(self, prefix: str, suffix: str, *, suffix_first: bool = False) -> list[int]:
        """The ids of a prompt that asks a code model for what stands between two texts, with its own marks:

            llm.generate(llm.tokenizer.infill("def area(r):\n    return ", " * r**2\n")).text

        Names of control tokens in the texts are plain text. `suffix_first`: the order in which a few models
        were trained. BOS comes first where the file asks for it. RequestError if the vocabulary has no such
        marks; what `encode` raises.
        """
        marks = self._vocabulary.gap_marks
        if marks is None:
            raise RequestError(
                f"`suffix` needs a model that fills gaps, and the vocabulary of {self._vocabulary.source} has"
                " no marks for them, such as <|fim_prefix|>; leave it out"
            )
        _check_text(suffix)
        before = [marks.prefix, *self.encode(prefix, add_special=False)]
        after = [marks.suffix, *self._text_ids(suffix, parse_special=False)]  # it begins no word
        parts = [*after, *before] if suffix_first else [*before, *after]
        return [*self._added_ids()[0], *parts, marks.middle]

    def encode_pair(self, first: str, second: str) -> list[int]:
        """The ids of two texts for a model that compares them: "[CLS] first [SEP] second [SEP]", or the
        file's tokens for these roles. Control tokens in the texts are plain text.

        Raises what `encode` raises.
        """
        begin, end = self._added_ids()
        between = list(end)
        if self._vocabulary.add_sep and not self.add_sep and self.sep_id is not None:
            between.append(self.sep_id)
        texts = [self.encode(text, add_special=False) for text in (first, second)]
        return [*begin, *texts[0], *between, *texts[1], *end]

    def first_difference(self, other: Tokenizer) -> int | None:
        """The first id that is another token in `other`, or a token in one of the two only; None if each id
        means the same in both. Tokens that are marked as unused do not count."""
        return self._vocabulary.first_difference(other._vocabulary)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True, continuation: bool = False) -> str:
        """The text of `ids`, the inverse of `encode`.

        `skip_special_tokens` leaves control tokens out, except those that give an answer its structure
        (gpt-oss: `<|channel|>`); else all are shown by their names. `continuation`: the ids follow others, as
        an answer follows its prompt, so a space at their start belongs to the text, even if encoding a text
        adds one there (Llama 2). Bytes that are not UTF-8 become U+FFFD.

        Raises RequestError if there is no such id, TypeError if one is no integer.
        """
        decoder = self.stream_decoder(skip_special_tokens, continuation)
        return "".join(map(decoder.push, while_asked(ids))) + decoder.flush()

    def stream_decoder(
        self, skip_special_tokens: bool = True, continuation: bool = False, shown_ids: Collection[int] = ()
    ) -> StreamDecoder:
        """Decodes ids as they come; options as for `decode`. `shown_ids` are never left out."""
        prefixed_after = self._special if self._model.strips_space_prefix else None

        def token_bytes(id_: int) -> bytes:
            return self.token_bytes(id_, skip_special_tokens and id_ not in shown_ids)

        return StreamDecoder(token_bytes, prefixed_after, not continuation)

    @cached_property
    def control_names(self) -> dict[str, int]:
        """Name -> id of the tokens that only `parse_special` reads: those of type CONTROL or UNKNOWN."""
        ids = self._vocabulary.ids_of_type(TokenType.CONTROL, TokenType.UNKNOWN)
        return {self._vocabulary.tokens[id_]: id_ for id_ in ids}

    @cached_property
    def fragment_ids(self) -> frozenset[int]:
        """The ids of tokens that are no text alone: some of their bytes belong to a character that begins or
        ends in others."""
        ids = set()
        for id_ in range(self.n_vocab):
            token = self.token_bytes(id_, skip_special_tokens=False)
            if not token.isascii() and "\ufffd" in token.decode("utf-8", "replace"):
                ids.add(id_)
        return frozenset(ids)

    def token_bytes(self, id_: int, skip_special_tokens: bool = True) -> bytes:
        """The bytes of a token, perhaps part of a character; b"" for one that is left out.

        `skip_special_tokens`: as for `decode`. Raises RequestError if there is no such id, TypeError if it is
        no integer.
        """
        id_ = operator.index(id_)
        if not 0 <= id_ < self.n_vocab:
            raise RequestError(f"token id {id_} is out of range: n_vocab is {self.n_vocab}")
        if skip_special_tokens and id_ in self._silent:
            return b""
        if id_ not in self._bytes:
            is_literal = id_ in self._silent or id_ in self._special
            self._bytes[id_] = (
                self._vocabulary.literal_bytes(id_) if is_literal else self._model.token_bytes(id_)
            )
        return self._bytes[id_]

    def _facts(self) -> dict[str, str]:
        special = {"bos": self.bos_id, "eos": self.eos_id, "unk": self.unk_id, "pad": self.pad_id}
        return {
            "kind": type(self._model).__name__,
            "n_vocab": str(self.n_vocab),
            **{
                name: f"{id_} {brief(self._vocabulary.tokens[id_])}"
                for name, id_ in special.items()
                if id_ is not None
            },
            "add_bos": str(self.add_bos),
            "add_eos": str(self.add_eos),
        }

    def _text_ids(self, text: str, parse_special: bool, mark: str = "", at_prefix: bool = False) -> list[int]:
        """The ids of a text alone; `at_prefix`: a space goes before it, where the kind of tokenizer does
        so."""
        ids: list[int] = []
        for part in self._parts(text, parse_special, mark):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._model.encode(" " + part if at_prefix else part)
            at_prefix = self._model.add_space_prefix and isinstance(part, int)
        return ids

    def _parts(self, text: str, parse_special: bool, mark: str) -> Iterator[str | int]:
        """The ids of special tokens in a text, and the texts between them, without marks."""
        for part in (self._all_splitter if parse_special else self._splitter).split(text):
            if mark and isinstance(part, str) and mark in part:
                yield from self._splitter.split(part.replace(mark, ""))
            else:
                yield part

    def _added_ids(self) -> tuple[list[int], list[int]]:
        """The ids that `encode` puts before a text, and after it."""
        begin = [self.bos_id] if self.add_bos and self.bos_id is not None else []
        end = [self.eos_id] if self.add_eos and self.eos_id is not None else []
        if self.add_sep and self.sep_id is not None:
            end.append(self.sep_id)
        return begin, end

    def _warn_once(self, what: str, id_: int) -> None:
        """`what`: which token, that `encode` adds too, the text has, and where."""
        if what not in self._warned_of:
            self._warned_of.add(what)
            _log.warning(
                "%s: a text (a prompt, or the template of a reranker) %s, %r, and gets another, as the file "
                "asks; leave it out of the text, or encode that with add_special=False",
                self._vocabulary.source,
                what,
                self._vocabulary.tokens[id_],
            )

    @cached_property
    def _splitter(self) -> SpecialTokenSplitter:
        """Cuts a text at USER_DEFINED tokens only."""
        return self._make_splitter(TokenType.USER_DEFINED)

    @cached_property
    def _all_splitter(self) -> SpecialTokenSplitter:
        """Cuts a text at all special tokens."""
        return self._make_splitter(*SPECIAL)

    def _make_splitter(self, *types: TokenType) -> SpecialTokenSplitter:
        tokens, ids = self._vocabulary.tokens, self._vocabulary.ids_of_type(*types)
        special = {tokens[id_]: id_ for id_ in ids}
        return SpecialTokenSplitter(special, self._vocabulary.strip_after, self._vocabulary.strip_before)


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"text must be Unicode, but character {error.start} is the lone surrogate "
            f"U+{ord(text[error.start]):04X}"
        ) from error


def _added(name: str, asked: bool | None, default: bool, id_: int | None, source: str) -> bool:
    """Does `encode` add this token? As the file says, else by `default`, if there is such a token."""
    if asked is None:
        return default and id_ is not None
    if asked and id_ is None:
        raise ModelError(
            f"{source}: tokenizer.ggml.add_{name}_token is true, but there is no {name}_token_id"
        )
    return asked

"""A receipt: all that the tokens of a text depend on, and the tokens."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from ...errors import RequestError
from ...gguf_io.display import Shown, brief
from ...system.atomic_file import atomic_file
from ..grammar.json_data import decoded

FORMAT = 1
"""The number of this form; another one has other fields, or other meanings."""
_MAX_BYTES = 1 << 26
_MAX_TEXT = 4096
_MAX_ID = 2**31 - 1


@dataclass(frozen=True, kw_only=True, repr=False)
class Receipt(Shown):
    """What the tokens of a text depend on, and the tokens. It is plain data: numbers, texts, lists and dicts.

        out = llm.generate("Once upon a time", nybble.SamplingParams(max_tokens=8, temperature=1))
        out.receipt.save("receipt.json")
        llm.verify(nybble.Receipt.load("receipt.json")).is_same

    Threads, company, the size of steps, drafts and what was cached are not in it: nothing depends on them.
    """

    format: int = FORMAT
    nybble: str
    """The version."""
    model: str
    """The name of the model's file, for people: what counts is `model_hash`."""
    architecture: str
    model_hash: str
    """The SHA-256 of the file; of a model in several files, of theirs."""
    executor: str
    cache_type: str
    n_ctx: int
    machine: Mapping[str, str]
    """The processor, the instructions of the kernels, and versions of packages. Logits are the same
    everywhere with the executor "numba"; with "reference", and where samplers compute with NumPy, the last
    bits may depend on these."""
    prompt_ids: Sequence[int]
    params: Mapping[str, Any]
    """The fields of `SamplingParams` that tokens depend on and that differ from the defaults, with the `seed`
    that was used. A constraint is `constraint`: {"kind", "source"}."""
    choice: int = 0
    """The number of the text, of `SamplingParams.n`."""
    eog_ids: Sequence[int]
    """The tokens that end a text of this kind: answers may have others than plain texts."""
    edits: Sequence[Sequence[str]] = ()
    """Name and `cache_key` of each edit, as control vectors have them."""
    obstacle: str | None = None
    """Why this text cannot be made again from data: an edit or a sampler that is a function; None: it can."""
    token_ids: Sequence[int]
    """The tokens of the text, without the one that ended it."""
    finish_reason: str
    """As `Output` has it."""
    checksum: str = ""
    """The SHA-256 of all the other fields: of their JSON with sorted keys, in ASCII, without spaces."""

    @classmethod
    def of(cls, **facts: Any) -> Self:
        """One with these fields, and its checksum."""
        receipt = cls(**facts)
        return replace(receipt, checksum=receipt._computed_checksum())

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        found = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def to_json(self) -> str:
        """The receipt as JSON: a line for each field."""
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in self.as_dict().items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it to a file, as JSON."""
        with atomic_file(path) as file:
            file.write(self.to_json().encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file that `save` has written; RequestError as `from_json` raises it."""
        with Path(path).expanduser().open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise RequestError(f"a receipt has at most {_MAX_BYTES} bytes, and {path} has more")
        try:
            return cls.from_json(data.decode())
        except UnicodeDecodeError as error:
            raise RequestError(f"{path} is no receipt: it is not UTF-8 at byte {error.start}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads a receipt. RequestError, which names the field, for what is none, is of a form that this
        version does not know, or has been changed since it was made."""
        value, end = decoded(text, "a receipt", len(text) - len(text.lstrip(" \t\r\n")))
        if text[end:].strip(" \t\r\n"):
            raise RequestError(f"a receipt must be one JSON value; something follows it at character {end}")
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """A receipt of the fields that `as_dict` gives; raises what `from_json` raises."""
        if not isinstance(value, Mapping) or "format" not in value:
            raise RequestError("a receipt must be a JSON object with the fields of `nybble.Receipt`")
        if type(value["format"]) is not int or value["format"] != FORMAT:
            raise RequestError(
                f"the receipt has the format {value['format']!r:.40}, and this version of nybble knows"
                f" {FORMAT}"
            )
        names = {field.name for field in fields(cls)}
        for name in sorted(names ^ value.keys()):
            state = "is missing" if name in names else "is no field of a receipt"
            raise RequestError(f"{name!r:.60} {state}")
        for name, (what, is_right) in _KINDS.items():
            if not is_right(value[name]):
                raise RequestError(f"the receipt's {name} must be {what}, not {value[name]!r:.80}")
        receipt = cls(**value)
        if receipt.checksum != receipt._computed_checksum():
            raise RequestError("the receipt has been changed since it was made: its checksum is another one")
        return receipt

    def _computed_checksum(self) -> str:
        facts = {name: value for name, value in self.as_dict().items() if name != "checksum"}
        text = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _facts(self) -> dict[str, str]:
        return {
            "model": f"{self.model} ({self.model_hash[:12]}…)",
            "params": brief(dict(self.params)),
            "prompt_ids": brief(self.prompt_ids),
            "token_ids": brief(self.token_ids),
            "finish_reason": repr(self.finish_reason),
        }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _is_integer(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_ID


def _are_ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_integer, value))


def _are_edits(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, list | tuple) and len(each) == 2 and all(isinstance(text, str) for text in each)
        for each in value
    )


_TEXT = ("a text", _is_text)
_INTEGER = (f"an integer from 0 to {_MAX_ID}", _is_integer)
_IDS = ("a list of token ids", _are_ids)
_KINDS = {
    **dict.fromkeys(
        (
            "nybble",
            "model",
            "architecture",
            "model_hash",
            "executor",
            "cache_type",
            "finish_reason",
            "checksum",
        ),
        _TEXT,
    ),
    **dict.fromkeys(("n_ctx", "choice"), _INTEGER),
    **dict.fromkeys(("prompt_ids", "eog_ids", "token_ids"), _IDS),
    "machine": (
        "an object of texts",
        lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
    ),
    "params": ("an object", lambda value: isinstance(value, Mapping)),
    "edits": ("a list of pairs of texts", _are_edits),
    "obstacle": ("a text, or null", lambda value: value is None or _is_text(value)),
}

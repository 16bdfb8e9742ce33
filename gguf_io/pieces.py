"""Pieces of a file that was cut by bytes, as `split -b` does: only all of them together are a GGUF file.

    model.gguf.part1of2   model.gguf-split-a   model.gguf.aa   model.gguf.001   model-chunk-001-of-018.gguf

They are recognized by their names. (The parts that gguf-split makes are whole GGUF files.)
"""

import os
import re
import shlex

_NAMES = (
    re.compile(
        r"(?P<whole>.+\.gguf)(?P<between>[.-]?(?:part|split|chunk|piece)[.-]?)(?P<tag>\d+|[a-z]{1,2})"
        r"(?:-?of-?(?P<count>\d+))?",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<whole>.+\.gguf)(?P<between>[.-]?)(?P<tag>\d{1,4}|[a-z]{1,2})(?P<count>)"),
    re.compile(
        r"(?P<stem>.+)(?P<between>[.-](?:part|split|chunk|piece)-?)(?P<tag>\d+)-?of-?(?P<count>\d+)\.gguf",
        re.IGNORECASE,
    ),
)


def piece_hint(path: str) -> str:
    """The remedy for an error message, if the file's name says that it is such a piece, else ""."""
    directory, name = os.path.split(path)
    match = _match(name)
    if match is None:
        return ""
    present = os.listdir(directory or os.curdir)
    others = [other for other in map(_match, present) if other is not None and _key(other) == _key(match)]
    if len(others) < 2 and not match["count"] and match["between"] in ("", ".", "-"):
        return ""  # the name may have another reason
    names = [other[0] for other in sorted(others, key=_order)]
    with open(os.path.join(directory, names[-1]), "rb") as last:
        if len(names) > 1 and last.read(4) == b"GGUF":
            return ""  # whole files
    whole = match.groupdict().get("whole") or f"{match['stem']}.gguf"
    count = int(match["count"] or 0)
    lacking = f"fetch all {count} (here are {len(names)}), then " if count > len(names) else ""
    command = " ".join(map(shlex.quote, names))
    return (
        f"by its name this is a piece of a file that was cut by bytes; {lacking}join the pieces in order:"
        f" cat {command} > {shlex.quote(whole)}"
    )


def _match(name: str) -> re.Match[str] | None:
    return next((match for pattern in _NAMES if (match := pattern.fullmatch(name))), None)


def _key(match: re.Match[str]) -> tuple[object, ...]:
    """Equal for the pieces of one file."""
    whole = match.groupdict().get("whole") or match["stem"]
    return match.re, whole, match["between"], match["count"], match["tag"].isdigit()


def _order(match: re.Match[str]) -> tuple[int, int, str]:
    tag = match["tag"]
    return (int(tag), 0, "") if tag.isdigit() else (0, len(tag), tag)

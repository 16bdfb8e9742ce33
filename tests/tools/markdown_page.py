"""Markdown pages as programs: their fenced blocks in order.

python          runs
python FILE     stands in FILE of the package, as it is here
sh              every line is a command
text            what the block before prints
(no mark)       anything else
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from stopwatch import HANG

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```(.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)


class Block(NamedTuple):
    mark: str
    text: str
    line: int
    """Of its first line in the page, from 1 on."""


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in _FENCED.finditer(text)]


def python(page: Path, some: list[Block]) -> str:
    """The Python that runs, with the page's own line numbers."""
    lines: list[str] = []
    for block in some:
        if block.mark == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"


def run_command(command: str) -> str:
    """What a command of a page prints; files of the repository are found from anywhere."""
    words = shlex.split(command)
    environment = dict(os.environ)
    while "=" in words[0]:
        name, value = words.pop(0).split("=", 1)
        environment[name] = value
    start = {"python": [sys.executable], "nybble": [sys.executable, "-m", "nybble"]}[words[0]]
    rest = [str(ROOT / w) if re.match("(bench|examples|tests|docs)/", w) else w for w in words[1:]]
    done = subprocess.run([*start, *rest], env=environment, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def run(page: Path) -> dict[str, str]:
    """Runs a page in the current folder -> what its commands print, by command."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed, by_command = "", {}
    for block in blocks(page):
        if block.mark == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(python(page, [block]), str(page), "exec"), names)
            printed = out.getvalue()
        elif block.mark == "sh":
            printed = ""
            for command in block.text.splitlines():
                printed += by_command.setdefault(command, run_command(command))
        elif block.mark == "text":
            assert printed == block.text, f"{page.name}:{block.line}: this was printed:\n{printed}"
    return by_command

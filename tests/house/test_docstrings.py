"""The public docstrings: each says something, and the examples in them run."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nybble
from nybble import research, testing
from nybble.engine.chat.message import ChatMessage

PUBLIC = {name: getattr(module, name) for module in (nybble, research, testing) for name in module.__all__}


def members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A public name, and of a class its public methods and properties."""
    yield name, value
    if isinstance(value, type):
        own = [vars(base) for base in reversed(value.__mro__) if base.__module__.startswith("nybble.")]
        for inner, member in {name: member for part in own for name, member in part.items()}.items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not inner.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{inner}", function


DOCSTRINGS = {
    name: inspect.cleandoc(value.__doc__ or "")
    for public, found in PUBLIC.items()
    for name, value in members(public, found)
    if inspect.isfunction(value) or (isinstance(value, type) and value.__module__.startswith("nybble."))
}


def examples(docstring: str) -> list[str]:
    """Its indented blocks that are Python."""
    found: list[list[str]] = [[]]
    before = ""
    for line in docstring.splitlines():
        if line.startswith("    ") and (found[-1] or not before):
            found[-1].append(line[4:])
        elif line:
            found.append([])
        elif found[-1]:
            found[-1].append("")
        before = line
    blocks = ["\n".join(block) for block in found if block]
    return [block for block in blocks if _is_python(block)]


def _is_python(block: str) -> bool:
    try:
        compile(block, "example", "exec")
    except SyntaxError:
        return False
    return True


EXAMPLES = [(name, block) for name, docstring in DOCSTRINGS.items() for block in examples(docstring)]


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_what_is_public_is_explained(name: str) -> None:
    assert DOCSTRINGS[name], name
    first = DOCSTRINGS[name].split("\n\n")[0]
    assert not first.startswith("The same"), f"{name}: a docstring is read alone"


def test_examples_are_found() -> None:
    assert len(EXAMPLES) >= 15
    docstring = "What.\n\n    x = 1\n\n    y = 2\n\nAnd:\n\n    a, b  two numbers\n"
    assert examples(docstring) == ["x = 1\n\ny = 2\n"]


@pytest.fixture(scope="module")
def names(smollm2_path: Path) -> Iterator[dict[str, Any]]:
    """What examples take as given."""
    with nybble.LLM(smollm2_path, n_ctx=512) as llm:
        given = {"nybble": nybble, "research": research, "llm": llm, "prompt": "Once upon a time"}
        given |= {"MockBackend": testing.MockBackend, "ChatMessage": ChatMessage}
        yield {**given, "vector": llm.trace("happy", capture="blk.5.resid_post")["blk.5.resid_post"][-1]}


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_examples_run(name: str, example: str, names: dict[str, Any], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(example, name, "exec"), dict(names))

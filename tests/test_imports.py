"""The house rules that can be read off the source: who may import whom, no circles, no asserts."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import nybble
from nybble.gguf_io import errors

ROOT = Path(nybble.__file__).parent

# Imports point down only.
MAY_IMPORT = {
    "gguf_io": set(),
    "tokenizer": {"gguf_io"},
    "kernels": {"gguf_io"},
    "engine": {"tokenizer", "kernels", "gguf_io"},
    "research": {"engine", "tokenizer", "kernels", "gguf_io"},
    "cli": {"research", "engine", "tokenizer", "kernels", "gguf_io"},
}

FILES = [path for part in MAY_IMPORT for path in sorted((ROOT / part).rglob("*.py"))]
FRONT = [ROOT / "__init__.py", ROOT / "__main__.py"]


def module_name(path: Path) -> str:
    """`engine/llm.py` -> "engine.llm"; `engine/__init__.py` -> "engine"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree, without what is only for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child)


def imports(path: Path) -> Iterator[str]:
    """Our own modules that a file imports, as "engine.llm", and other packages, as "!numpy"."""
    package = path.relative_to(ROOT).parent.parts
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ("!" + alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield "!" + (node.module or "").split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            if node.level - 1 > len(package):
                raise ValueError(f"{path}: an import leaves the package")
            base = package[: len(package) - (node.level - 1)]
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{source}.{alias.name}".strip(".")
                yield inner if inner in MODULES else source


def test_every_part_of_the_package_is_here():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path):
    part = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        if name.startswith("!"):
            assert name != "!nybble", "inside the package imports are relative"
        elif name:
            assert name.split(".")[0] in MAY_IMPORT[part] | {part}, f"{part} must not import {name}"


def test_there_are_no_circles():
    graph = {name: {n for n in imports(path) if n in MODULES} - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, above: list[str]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*above, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("path", FILES + FRONT, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_checked_by_assert(path):
    """`python -O` leaves asserts out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


def test_every_error_is_a_nybble_error_and_stands_at_the_front_door():
    for name, error in inspect.getmembers(errors, inspect.isclass):
        assert issubclass(error, errors.NybbleError)
        assert getattr(nybble, name) is error


def test_the_front_door_opens_everywhere():
    for name in nybble.__all__:
        assert getattr(nybble, name) is not None
        assert name in dir(nybble)
    with pytest.raises(AttributeError, match="no attribute 'Lllm'"):
        nybble.Lllm  # noqa: B018

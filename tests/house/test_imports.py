"""The house rules that can be read off the source: who may import whom, no circles, no asserts."""

import ast
import inspect
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from arrows import ARROWS

import nybble
from nybble import errors

ROOT = Path(nybble.__file__).parent
SETTINGS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = [ROOT.joinpath(*name.split(".")[1:]) for name in SETTINGS["tool"]["setuptools"]["packages"]]
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.py")) if path != ROOT / "setup.py"]
FRONT = {"", "__main__"}
"""The package itself, whose names are imported when they are used, and what `python -m nybble` runs."""


def module_name(path: Path) -> str:
    """`engine/llm.py` -> "engine.llm"; `engine/__init__.py` -> "engine"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}
INNER = sorted(MODULES.keys() - FRONT)


def folder_name(module: str) -> str:
    """The folder that a module stands in: "engine.llm" -> "engine", "engine" -> "engine"."""
    return ".".join(MODULES[module].relative_to(ROOT).parent.parts)


def contains(place: str, module: str) -> bool:
    """ "engine" contains itself, "engine.llm" and "engine.chat.template"."""
    return f"{module}.".startswith(f"{place}.")


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


IMPORTS = {name: set(imports(path)) for name, path in MODULES.items()}
GRAPH = {name: {other for other in IMPORTS[name] if other in INNER} - {name} for name in INNER}
"""Module -> those of ours that it imports. The package itself is none: it offers what others make."""


def room(module: str) -> str:
    """The room of `ARROWS` that a module belongs to: itself, or else its folder."""
    return module if module in ARROWS else folder_name(module)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The names on a way that comes back to where it began, if there is one."""
    done: set[str] = set()

    def visit(name: str, above: list[str]) -> list[str]:
        if name in above:
            return [*above[above.index(name) :], name]
        if name not in done:
            for other in sorted(graph[name]):
                if found := visit(other, [*above, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in graph if (found := visit(name, []))), [])


def test_every_room_is_in_the_table():
    assert {room(name) for name in INNER} == set(ARROWS)


@pytest.mark.parametrize("place", ARROWS)
def test_imports_follow_the_arrows(place):
    """All that a room imports is allowed, and all that it is allowed is imported."""
    allowed, used = ARROWS[place].split(), set()
    for name in (name for name in INNER if room(name) == place):
        assert "!nybble" not in IMPORTS[name], f"{name}: inside the package imports are relative"
        assert {other for other in IMPORTS[name] if not other.startswith("!")} <= set(MODULES), name
        for other in (other for other in GRAPH[name] if room(other) != place):
            assert any(contains(part, other) for part in allowed), f"{name}: {place} must not import {other}"
            used.add(other)
    for part in allowed:
        assert any(contains(part, other) for other in used), f"{place} imports nothing of {part}"


def test_there_are_no_circles():
    assert not circle(GRAPH)


def test_there_are_no_circles_of_folders():
    """Loose files in a folder that has folders stand for themselves."""
    with_folders = {folder_name(name).rpartition(".")[0] for name in INNER}
    node = {name: name if folder_name(name) in with_folders else folder_name(name) for name in INNER}
    graph: dict[str, set[str]] = {name: set() for name in node.values()}
    for name in INNER:
        graph[node[name]] |= {node[other] for other in GRAPH[name]} - {node[name]}
    assert not circle(graph)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": {"d"}, "d": {"b"}}) == ["b", "c", "d", "b"]
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_nothing_is_checked_by_assert():
    """`python -O` leaves asserts out."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
    found = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    assert not [f"{path}:{node.lineno}" for path, node in found if isinstance(node, ast.Assert)]


def unannotated(source: str) -> list[str]:
    """Functions of a source that lack an annotation, but for those that Numba compiles."""
    compiled = ("@kernel(", "@inlined", "@called")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            given, rest = node.args, (node.args.vararg, node.args.kwarg)
            arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, rest)]
            hints = [argument.annotation for argument in arguments if argument.arg not in ("self", "cls")]
            is_compiled = any(f"@{ast.unparse(d)}".startswith(compiled) for d in node.decorator_list)
            if None in (*hints, node.returns) and not is_compiled:
                found.append(node.name)
    return found


def test_only_what_numba_compiles_lacks_annotations():
    """mypy lets any function of a room with kernels lack them (pyproject.toml)."""
    paths = [path for path in FILES if "kernels" in path.parts]
    found = {str(path): unannotated(path.read_text(encoding="utf-8")) for path in paths}
    assert found and not any(found.values()), found


def test_a_function_without_annotations_is_found():
    assert unannotated("def f(a: int, *b) -> int: pass") == unannotated("def f(a: int): pass") == ["f"]
    assert not unannotated("def f(self, a: int) -> None: pass\n@kernel(RECORD)\ndef g(args): pass")


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


def test_importing_the_public_face_is_cheap():
    """`import nybble` must not load NumPy, and the sampler must not load Numba."""
    code = (
        "import sys, nybble; assert 'numpy' not in sys.modules; nybble.SamplingParams();"
        "nybble.load_gguf; sys.exit('numba' in sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0

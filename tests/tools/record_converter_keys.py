"""Records which metadata keys llama.cpp's converters can write for each architecture, and which it reads.

    python tests/tools/record_converter_keys.py LLAMA.CPP

LLAMA.CPP is a checkout.  Nothing is run: the classes of `conversion/` are followed from method to method for
calls of `gguf_writer.add_...`, and `load_hparams` and `load_arch_hparams` of `src` are searched for keys.
`converter_keys.json` has, by key, the architectures that read it and those that ignore it.
"""

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOTS = ("set_gguf_parameters", "set_vocab", "prepare_metadata", "prepare_tensors", "modify_tensors")
ROOTS += ("generate_extra_tensors",)

# Written under a condition that is never true for all who share the method.
MLA = (
    "attention.q_lora_rank",
    "attention.kv_lora_rank",
    "attention.key_length_mla",
    "attention.value_length_mla",
)
NEVER = {("deepseek2-ocr", key) for key in MLA}
NEVER |= {
    (name, "attention.sliding_window") for name in ("deepseek2", "deepseek32", "glm-dsa", "hy_v4", "mistral4")
}
NEVER |= {("llama", "attention.temperature_scale")}

Method = tuple[str, str]


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


class Converters:
    def __init__(self, root: Path) -> None:
        constants = parse(root / "gguf-py/gguf/constants.py")
        self.key_names = dict(self._key_names(constants, "Keys"))
        self.names = self._architecture_names(constants)
        self.writers = self._writers(parse(root / "gguf-py/gguf/gguf_writer.py"))
        nodes = [
            node for path in sorted((root / "conversion").glob("*.py")) for node in ast.walk(parse(path))
        ]
        self.classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
        self.methods = {
            name: {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
            for name, node in self.classes.items()
        }

    def _key_names(self, tree: ast.Module | ast.ClassDef, path: str) -> Iterator[tuple[str, str]]:
        """ "Keys.Attention.CAUSAL": "{arch}.attention.causal", and so on."""
        for line in tree.body:
            if isinstance(line, ast.ClassDef):
                within = path.startswith("Keys.") or line.name != "Keys"
                yield from self._key_names(line, f"{path}.{line.name}" if within else path)
            elif isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
                yield f"{path}.{dotted(line.targets[0])}", line.value.value

    def _architecture_names(self, tree: ast.Module) -> dict[str, str]:
        table = next(
            n for n in tree.body if isinstance(n, ast.AnnAssign) and dotted(n.target) == "MODEL_ARCH_NAMES"
        )
        pairs = zip(table.value.keys, table.value.values, strict=True)
        return {dotted(key).split(".")[-1]: value.value for key, value in pairs}

    def _writers(self, tree: ast.Module) -> dict[str, set[str]]:
        """add_...: the keys that it writes, "{arch}." being left off."""
        found = defaultdict(set)
        for method in ast.walk(tree):
            if isinstance(method, ast.FunctionDef) and method.name.startswith("add_"):
                for node in ast.walk(method):
                    key = self.key_names.get(dotted(node), "")
                    if key.startswith("{arch}."):
                        found[method.name].add(key.removeprefix("{arch}."))
        return found

    def order(self, name: str) -> list[str]:
        """The classes in which methods are looked for; no converter inherits a class twice."""
        parents = [dotted(base) for base in self.classes[name].bases if dotted(base) in self.classes]
        found = [name] + [each for parent in parents for each in self.order(parent)]
        return [each for i, each in enumerate(found) if each not in found[i + 1 :]]

    def architectures(self, name: str) -> set[str]:
        for each in self.order(name):
            values = [
                node.value
                for node in ast.walk(self.classes[each])
                if isinstance(node, ast.Assign) and dotted(node.targets[0]).split(".")[-1] == "model_arch"
            ]
            parts = [dotted(node).split(".") for value in values for node in ast.walk(value)]
            found = {self.names[part[-1]] for part in parts if part[-2:-1] == ["MODEL_ARCH"]}
            if found:
                return found
        return set()

    def written(self, name: str) -> set[str]:
        order = self.order(name)

        def find(method: str, after: str = "") -> list[Method]:
            rest = order[order.index(after) + 1 :] if after else order
            return [(each, method) for each in rest if method in self.methods[each]][:1]

        todo = [method for root in ROOTS for method in find(root)]
        seen: set[Method] = set()
        keys: set[str] = set()
        while todo:
            owner, method = here = todo.pop()
            if here in seen:
                continue
            seen.add(here)
            for node in ast.walk(self.methods[owner][method]):
                if not isinstance(node, ast.Attribute):
                    continue
                if isinstance(node.value, ast.Call) and dotted(node.value.func) == "super":
                    todo += find(node.attr, owner)
                elif dotted(node.value) == "self":
                    todo += find(node.attr)
                elif node.attr in self.methods.get(dotted(node.value), {}):
                    todo.append((dotted(node.value), node.attr))
                elif dotted(node.value).endswith("gguf_writer"):
                    keys |= self.writers.get(node.attr, set())
        return keys

    def pairs(self) -> Iterator[tuple[str, str]]:
        for name in self.classes:
            if "TextModel" in self.order(name)[1:]:
                for architecture in self.architectures(name):
                    for key in self.written(name):
                        for each in (
                            [key.replace("{dense}", f"dense_{i}") for i in (2, 3)] if "{" in key else [key]
                        ):
                            yield architecture, each


def keys_read(root: Path) -> dict[str, set[str]]:
    """By architecture, what llama.cpp's loader asks for."""
    names = (root / "src/llama-arch.cpp").read_text(encoding="utf-8")
    key_of = dict(re.findall(r'\{\s*(LLM_KV_\w+),\s*"%s\.([^"]+)"', names))
    architecture_of = dict(re.findall(r'\{\s*(LLM_ARCH_\w+),\s*"([^"]+)"', names))
    parent = dict(re.findall(r"struct (\w+)\s*:\s*public (\w+)", (root / "src/models/models.h").read_text()))
    model = (root / "src/llama-model.cpp").read_text(encoding="utf-8")
    bodies = {}
    for text in [model] + [path.read_text(encoding="utf-8") for path in (root / "src/models").glob("*.cpp")]:
        bodies |= dict(re.findall(r"^void (\w+)::load_(?:arch_)?hparams\((.*?)^\}", text, re.M | re.S))

    def keys(struct: str) -> set[str]:
        while struct not in bodies:
            struct = parent[struct]
        body = bodies[struct]
        found = {key_of[name] for name in re.findall(r"LLM_KV_\w+", body) if name in key_of}
        return found.union(*(keys(other) for other in re.findall(r"(\w+)::load_arch_hparams", body)))

    shared = keys("llama_model_base")
    found = {}
    for cases, struct in re.findall(r"((?:case LLM_ARCH_\w+:\s*)+)return new (\w+)\(", model):
        for case in re.findall(r"LLM_ARCH_\w+", cases):
            found[architecture_of[case]] = shared | (keys(struct) if struct != "llama_model_base" else set())
    return found


if __name__ == "__main__":
    root = Path(sys.argv[1])
    read = keys_read(root)
    table: dict[str, dict[str, list[str]]] = {}
    for name, key in sorted(set(Converters(root).pairs()) - NEVER):
        kind = "read" if key in read.get(name, ()) else "ignored"
        table.setdefault(key, {}).setdefault(kind, []).append(name)
    lines = [
        f"{json.dumps(key)}: {json.dumps({kind: ' '.join(names) for kind, names in kinds.items()})}"
        for key, kinds in sorted(table.items())
    ]
    path = Path(__file__).parents[1] / "data" / "converter_keys.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

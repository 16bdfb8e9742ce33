"""Shows what decides how fast models run on this machine, and says what to change.

Python, packages, the processor and which kernels it gets, threads, memory and how fast it is read, and the
cache. It takes some seconds; the exit code is 0, whatever it finds.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from ..advice import advice
from ..machine import machine
from ..plain_text import plain
from ..standard_streams import print_json

_PRODUCTS = {
    "amx": "AMX, 16 x 16 products at once",
    "vnni": "VNNI, four products in one instruction",
    "avx2": "AVX2, two products in one instruction",
    "i8mm": "i8mm, products of small matrices",
    "dotprod": "dotprod, four products in one instruction",
    "generic": "without special instructions",
}
_WIDTH = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")


def run(args: argparse.Namespace) -> None:
    facts = machine()
    found = advice(facts)
    if args.json:
        print_json({**facts, "advice": found}, indent=1)
        return
    for topic, text in _lines(facts):
        print(f"{topic:<{_WIDTH}}{plain(text)}")
    print("\nwhat to change" if found else "\nnothing to change")
    for sentence in found:
        print(f"- {plain(sentence)}")


def _lines(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    python, packages = facts["python"], facts["packages"]
    yield "nybble", packages["nybble"] or "not installed"
    yield "Python", f"{python['version']} ({python['implementation']}), {python['path']}"
    yield "system", python["system"]
    yield "packages", _versions({name: found for name, found in packages.items() if name != "nybble"})
    for number, (extra, needs) in enumerate(facts["extras"].items()):
        missing = f'; pip install "nybble[{extra}]"' if None in needs.values() else ""
        yield "extras" if number == 0 else "", f"{extra}: {_versions(needs)}{missing}"
    yield from _processor_lines(facts["processor"])
    yield from _thread_lines(facts["threads"])
    yield from _memory_lines(facts["memory"], facts["threads"]["default"])
    yield from _cache_lines(facts["cache"])
    for number, (name, value) in enumerate(facts["environment"].items()):
        yield "variables" if number == 0 else "", f"{name}={value}"


def _processor_lines(processor: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "error" in processor:
        yield "processor", f"{processor['name']}: {processor['error']}"
        return
    yield "processor", f"{processor['name']} ({processor['triple']})"
    yield "", f"has {', '.join(processor['features']) or 'none of the features that kernels look for'}"
    compiled = "" if processor["compiles"] else "; not compiled"
    yield "kernels", f"{_PRODUCTS[processor['products']]}; {processor['vector_bits']}-bit vectors{compiled}"


def _thread_lines(threads: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    nodes, busy = len(threads["numa_nodes"]), threads["busy_elsewhere"]
    yield (
        "threads",
        f"{threads['default']} by default, of {threads['cpus']} CPUs"
        + (f" in {nodes} NUMA node{'s' if nodes > 1 else ''}" if nodes else "")
        + (f"; others keep {busy:.1f} CPUs busy" if busy is not None else ""),
    )


def _memory_lines(memory: Mapping[str, Any], n_threads: int) -> Iterator[tuple[str, str]]:
    free, lock = memory["free"], memory["may_lock"]
    known = "unknown" if free is None else f"{free / 1e9:.1f} GB free"
    yield "memory", f"{known}; --mlock may lock {'all of it' if lock is None else f'{lock / 1e6:,.3g} MB'}"
    if speed := memory.get("bandwidth"):
        yield (
            "bandwidth",
            f"{speed / 1e9:.1f} GB/s read by {n_threads} threads, {memory['bandwidth_of_one'] / 1e9:.1f} by"
            f" one: 1 GB of weights gives {speed / 1e9:.0f} tokens a second at the most",
        )


def _cache_lines(cache: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "error" in cache:
        yield "cache", cache["error"]
        return
    state = "can be written to" if cache["is_writable"] else "read only"
    made = "" if cache["exists"] else "; not made yet"
    yield "cache", f"{cache['folder']}, of {cache['owner'] or 'this profile'}, {state}{made}"
    for name, size in cache["parts"].items():
        yield "", f"{name}: {size['bytes'] / 1e6:,.1f} MB in {size['files']} files"
    if cache["old_kernels"]["n"]:
        old = cache["old_kernels"]
        yield "", f"of the kernels, {old['bytes'] / 1e6:,.1f} MB are of {old['n']} other versions"


def _versions(packages: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {found or '(missing)'}" for name, found in packages.items())

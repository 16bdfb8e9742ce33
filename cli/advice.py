"""What to change on a machine so that models run, or run faster."""

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any

_SMALL = 1 << 30  # bytes of free memory
_MUCH = 200 << 20  # bytes of old kernels that are worth removing
_CROWDED = 0.25  # CPUs that other processes keep busy


def advice(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence or two for each thing to change; `facts` as `machine` gives them."""
    topics = (_of_cache, _of_kernels, _of_threads, _of_memory, _of_packages)
    return [sentence for topic in topics for sentence in topic(facts)]


def _of_cache(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    cache = facts["cache"]
    if "error" in cache:
        yield f"{cache['error']}."
        return
    if not cache["is_writable"]:
        yield (
            f"{cache['folder']} cannot be written to, so models cannot be fetched, and kernels that are not"
            " there are compiled at every start: set NYBBLE_CACHE to a folder of your own."
        )
    elif cache["exists"] and not cache["is_private"]:
        yield (
            f"{cache['folder']} belongs to {cache['owner']}, or others may write to it, so no kernels are"
            f" kept there: chmod go-w {quote(cache['folder'])}, or set NYBBLE_CACHE to a folder of your own."
        )
    old = cache["old_kernels"]
    if old["bytes"] > _MUCH:
        yield (
            f"{old['bytes'] / 1e6:,.0f} MB of kernels are of other versions or processors. All kernels may be"
            f" removed; those in use are compiled again: rm -r {quote(cache['folder'])}/kernels"
        )


def _of_kernels(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    processor, variables = facts["processor"], facts["environment"]
    if "error" in processor:
        yield f"{processor['error']}."
        return
    if not processor["compiles"]:
        yield "NUMBA_DISABLE_JIT is set: kernels run as Python, thousands of times slower. Unset it."
    forced = [name for name in ("NYBBLE_DOT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if name in variables]
    if forced:
        yield (
            f"{' and '.join(forced)} choose other kernels than the processor's best. Unset them, unless an"
            " image is made for several kinds of processors."
        )
    elif processor["products"] == "generic":
        yield (
            "No instructions for products of integers were found (AVX2, or dotprod on Arm), so quantized"
            " models run slowly. In a virtual machine, pass the host's processor through (-cpu host)."
        )


def _of_threads(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    threads = facts["threads"]
    busy = threads["busy_elsewhere"]
    if busy is not None and busy > _CROWDED:
        yield (
            f"Other processes keep {busy:.1f} of {threads['cpus']} CPUs busy: models run slower beside them,"
            " and the figures here are lower than on a quiet machine."
        )
    if len(threads["numa_nodes"]) > 1:
        yield (
            f"Memory lies in {len(threads['numa_nodes'])} NUMA nodes: try --numa distribute, or for a model"
            " that fits in one node --numa isolate; `nybble bench` shows which is faster."
        )


def _of_memory(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    memory = facts["memory"]
    if "error" in memory:
        yield f"The speed of memory could not be measured: {memory['error']}."
    if memory["free"] is not None and memory["free"] < _SMALL:
        yield (
            f"Only {memory['free'] / 1e6:,.0f} MB of memory are free: end other programs, or run with"
            " --weights mapped, which leaves weights in the file, and --cache-type q8_0."
        )


def _of_packages(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    packages = facts["packages"]
    if packages["nybble"] is None:
        yield "nybble was not installed with pip, so its needs are not known: pip install nybble"
    if missing := [name for name, found in packages.items() if found is None and name != "nybble"]:
        yield f"Packages are missing: pip install {' '.join(missing)}"

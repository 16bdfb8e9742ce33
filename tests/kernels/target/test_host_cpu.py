"""What this machine can do: recorded answers of real AArch64 machines stand in for the system's."""

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import llvmlite.binding as llvm
import pytest

from nybble.kernels.target import host_cpu as module
from nybble.kernels.target.host_cpu import host_cpu
from nybble.kernels.target.target import dot_path

LINUX, MACOS = "aarch64-unknown-linux-gnu", "arm64-apple-darwin23.4.0"

# Of Linux: where the names in /proc/cpuinfo stand in AT_HWCAP, and those from 32 on in AT_HWCAP2.
NAMES = """
fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc
dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg
dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm bf16
"""
N1 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
V1 = f"{N1} jscvt fcma sha3 sm3 sm4 sha512 sve asimdfhm dit uscat ilrcpc flagm svei8mm svebf16 i8mm bf16"
V2 = f"{V1} sb paca pacg sve2 sveaes svepmull svebitperm svesha3 flagm2 frint"
N1_FEATURES = "+aes,+crc,+fp-armv8,+lse,+neon,-rand,+sha2,-sve"
V1_FEATURES = "+aes,+crc,+fp-armv8,+lse,+neon,+rand,+sha2,+sha3,+sm4,+sve"
V2_FEATURES = "+aes,+crc,+fp-armv8,+lse,+neon,+rand,+sha2,+sha3,+sve,+sve-aes,+sve-sha3,+sve2"
A72_FEATURES = "-aes,+crc,+fp-armv8,+neon,-rand,-sha2,-sve"
# Names in /proc/cpuinfo; what LLVM 22 calls that, and makes of it; the products.
LINUX_MACHINES = {
    "Graviton 2": (f"{N1} ssbs", "neoverse-n1", N1_FEATURES, "dotprod"),
    "Graviton 3": (V1, "neoverse-v1", V1_FEATURES, "i8mm"),
    "Graviton 4": (V2, "neoverse-v2", V2_FEATURES, "i8mm"),
    "Ampere Altra": (N1, "neoverse-n1", N1_FEATURES, "dotprod"),
    "Raspberry Pi 5": (N1, "cortex-a76", N1_FEATURES, "dotprod"),
    "Raspberry Pi 4": ("fp asimd evtstrm crc32 cpuid", "cortex-a72", A72_FEATURES, "generic"),
    "unknown to LLVM": (N1, "generic", N1_FEATURES, "dotprod"),
    "emulated on Graviton 3": (N1, "neoverse-v1", V1_FEATURES, "dotprod"),
}


def stand_in(monkeypatch: pytest.MonkeyPatch, triple: str, name: str, features: str) -> None:
    """LLVM's answers; and there is no CPUID."""
    monkeypatch.setattr(llvm, "get_process_triple", lambda: triple)
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: name)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.FeatureMap(features=features))
    monkeypatch.setattr(llvm.FeatureMap, "flatten", lambda self: self["features"])
    monkeypatch.setattr(module, "_cpuid", lambda: None)


def hwcap(names: str, *, second: bool) -> int:
    bits = sum(1 << NAMES.split().index(name) for name in names.split())
    return bits >> 32 if second else bits & 0xFFFFFFFF


COUNT = """
import sys
from nybble.kernels.target.target import Target, compile_for
compile_for(Target.of(*sys.argv[1:]))
from nybble.kernels.jit.compiler import assembly
from nybble.kernels.language.pointer import I8, I32
from nybble.kernels.language.record import PointerTo, Record
from nybble.kernels.language.simd import dot_signed, dot_start_signed, dot_sum, load, store
from nybble.kernels.language.source import Source

def product(args, thread_id, n_threads):
    state = dot_start_signed(load(args.out, 8, 8, 8))
    store(args.out, dot_sum(dot_signed(state, load(args.w, 32, 2, 32), args.x, 4, 4)), 8)

code = assembly(Source(product, Record(w=PointerTo(I8), x=PointerTo(I8), out=PointerTo(I32)), "product"))
print(sum(line.split()[:1] in (["sdot"], ["sdot.4s"]) for line in code.splitlines()))
"""


def count(*machine: str) -> int:
    """The instructions sdot in the product of 16 rows with 4 tokens, over 4 columns."""
    result = subprocess.run([sys.executable, "-c", COUNT, *machine], capture_output=True, text=True)
    assert result.returncode == 0 and "not a recognized feature" not in result.stderr, result.stderr[-2000:]
    return int(result.stdout)


@pytest.mark.parametrize("machine", LINUX_MACHINES)
def test_linux_on_aarch64(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names, llvm_name, llvm_features, path = LINUX_MACHINES[machine]
    stand_in(monkeypatch, LINUX, llvm_name, llvm_features)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module, "_auxiliary_value", lambda kind: hwcap(names, second=kind == 26))
    cpu = host_cpu()
    assert (cpu.triple, cpu.name) == (LINUX, llvm_name)
    last = {feature[1:]: feature[0] for feature in cpu.features.split(",")}
    for feature, name in (("dotprod", "asimddp"), ("lse", "atomics"), ("sve", "sve"), ("i8mm", "i8mm")):
        assert last[feature] == ("+" if name in names.split() else "-"), feature
    assert dot_path(*cpu[::2]) == path
    monkeypatch.undo()
    assert count(*cpu) == (0 if path == "generic" else 16), "16 rows x 4 tokens are 16 vectors"


@pytest.mark.parametrize(
    ("name", "dotprod", "i8mm", "path"),
    [("apple-m2", 1, 1, "i8mm"), ("apple-m1", 1, 0, "dotprod"), ("apple-m1", 0, 0, "generic")],
)
def test_macos(name: str, dotprod: int, i8mm: int, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one has dot products, but one never knows which macOS a virtual machine runs."""
    stand_in(monkeypatch, MACOS, name, "")
    monkeypatch.setattr(sys, "platform", "darwin")
    asked = {"hw.optional.arm.FEAT_DotProd": dotprod, "hw.optional.arm.FEAT_I8MM": i8mm}
    monkeypatch.setattr(module, "_sysctl", asked.__getitem__)
    cpu = host_cpu()
    assert cpu == (MACOS, name, f"{'-+'[dotprod]}dotprod,{'-+'[i8mm]}i8mm")
    assert dot_path(*cpu[::2]) == path
    monkeypatch.undo()
    assert count(*cpu) == 16 * dotprod


def test_windows_on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the Snapdragon X, or with its products of matrices hidden."""
    has = {43: 1, 66: 1}
    kernel32 = SimpleNamespace(IsProcessorFeaturePresent=lambda feature: has.get(feature, 0))
    stand_in(monkeypatch, "aarch64-pc-windows-msvc", "oryon-1", "+neon")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    assert host_cpu().features == "+neon,+dotprod,+i8mm"
    has[66] = 0
    assert host_cpu().features == "+neon,+dotprod,-i8mm"


@pytest.mark.skipif(module._cpuid() is None, reason="no x86, or a glibc that does not tell")
def test_an_emulator_is_another_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc/cpuinfo shows the real one even there: what is kept of it must not be found."""
    monkeypatch.setenv("NYBBLE_CACHE", str(tmp_path))
    real = host_cpu()
    assert host_cpu() == real
    (kept,) = (tmp_path / "processors").iterdir()
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: "nehalem")
    assert host_cpu() == real, "the same processor is not asked about again"
    cpuid = module._cpuid()
    assert cpuid is not None and cpuid == module._cpuid()
    monkeypatch.setattr(module, "_cpuid", lambda: cpuid[:-1] + bytes([cpuid[-1] ^ 1]))
    assert host_cpu().name == "nehalem"
    assert len(list(kept.parent.iterdir())) == 2


IMPORT_ALL = """
import importlib, pkgutil
from nybble.kernels.target import host_cpu, target
def probe():
    raise RuntimeError("the processor was asked")
host_cpu.host_cpu = host_cpu._cpuid = target.host_cpu = probe
from nybble import engine, kernels
for package in (kernels, engine):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
"""


def test_no_import_asks_what_the_processor_can_do() -> None:
    """`compile_for` must be able to come after any import."""
    subprocess.run([sys.executable, "-c", IMPORT_ALL], check=True)

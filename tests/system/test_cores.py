"""How many threads: cores, not hyperthreads or slow cores, and what control groups allow; on stand-ins for
what systems answer."""

import ctypes
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from nybble.system import cores
from nybble.system.cgroup import control_groups

DOCKER = "/docker/0a1b"
V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 31 0:30 {} /sys/fs/cgroup/{} rw,relatime shared:9 - cgroup cgroup rw,{}\n"


def system(root: Path, cgroup: str, mountinfo: str, files: Mapping[str, str]) -> Path:
    files = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, **files}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def v1_files(folder: str, quota: int, period: int = 100000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


QUOTAS = {
    "v2, its own": ("0::/a/b\n", V2, {"sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 2),
    "v2, that of a group above": (
        "0::/a/b\n",
        V2,
        {
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/cpu.max": "800000 100000\n",
        },
        3,
    ),
    "v2, in a container": ("0::/\n", V2, {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
    "v2, in a container, in a group outside": (
        "0::/../a\n",
        V2,
        {"sys/fs/cgroup/cpu.max": "200000 100000\n"},
        2,
    ),
    "v2, no limit": ("0::/a\n", V2, {"sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 1 << 20),
    "v1, nested": (
        "3:cpu,cpuacct:/a/b\n2:memory:/m\n0::/\n",
        V1.format("/", "cpu,cpuacct", "cpu,cpuacct") + V2.replace("cgroup rw", "cgroup/unified rw"),
        v1_files("sys/fs/cgroup/cpu,cpuacct/a/b", -1) | v1_files("sys/fs/cgroup/cpu,cpuacct/a", 250000),
        3,
    ),
    "v1, in a container that sees its own group only": (
        f"4:memory:{DOCKER}\n1:cpu:{DOCKER}\n",
        V1.format(DOCKER, "memory", "memory") + V1.format(DOCKER, "cpu", "cpu"),
        v1_files("sys/fs/cgroup/cpu", 400000, 100000),
        4,
    ),
    "v1, below that": (
        f"1:cpu:{DOCKER}/inner\n",
        V1.format(DOCKER, "cpu", "cpu"),
        v1_files("sys/fs/cgroup/cpu", 400000) | v1_files("sys/fs/cgroup/cpu/inner", 20000, 10000),
        2,
    ),
    "of another controller": (
        "1:cpuacct:/\n",
        V1.format("/", "x", "cpuacct"),
        v1_files("sys/fs/cgroup/x", 1),
        1 << 20,
    ),
    "none": ("", "", {}, 1 << 20),
    "not understood": ("?\n::\n", "?\n? - cgroup2\n", {}, 1 << 20),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_smallest_quota_counts(tmp_path: Path, case: str) -> None:
    *files, expected = QUOTAS[case]
    assert cores._quota(system(tmp_path, *files)) == expected


def test_groups_from_the_innermost_on(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/a/b c\n", V2.replace("/sys/fs/cgroup", r"/my\040groups"), {})
    here = root / "my groups"
    assert list(control_groups("memory", root)) == [here / "a/b c", here / "a", here]


def test_without_proc_there_are_none(tmp_path: Path) -> None:
    assert list(control_groups("cpu", tmp_path)) == []
    assert cores._quota(tmp_path) == 1 << 20


def linux(root: Path, files: Mapping[str, str]) -> Path:
    return system(root, "", "", {f"sys/devices/{name}": content for name, content in files.items()})


def test_hyperthreads_share_a_core(tmp_path: Path) -> None:
    names = [f"system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in range(4)]
    root = linux(tmp_path, dict(zip(names, ("0,2\n", "1,3\n", "0,2\n", "1,3\n"), strict=True)))
    assert cores._linux_cores({0, 1, 2, 3}, root) == 2
    assert cores._linux_cores({0, 2}, root) == 1
    assert cores._linux_cores({4, 5, 6}, root) == 3, "nothing is known of these"


def test_slow_cores_are_left_out(tmp_path: Path) -> None:
    arm = linux(
        tmp_path / "arm",
        {f"system/cpu/cpu{i}/cpu_capacity": f"{c}\n" for i, c in enumerate([290, 290, 871, 1024])},
    )
    assert cores._linux_cores({0, 1, 2, 3}, arm) == 2
    assert cores._linux_cores({0, 1}, arm) == 2, "unless there are no others"
    intel = linux(tmp_path / "intel", {"cpu_core/cpus": "0-3\n", "cpu_atom/cpus": "4-6,8\n"})
    assert cores._linux_cores(set(range(9)), intel) == 5  # 0 to 3 and 7
    assert cores._linux_cores({5, 8}, intel) == 2


class MacOS:
    def __init__(self, **known: int) -> None:
        self.known = {f"hw.{name}".replace("_", "."): value for name, value in known.items()}

    def sysctlbyname(self, name, value, size, new, n_new) -> int:  # type: ignore[no-untyped-def]
        found = self.known.get(name.decode())
        if found is None or size._obj.value != 4:
            return -1
        value._obj.value = found
        return 0


def test_macos() -> None:
    assert cores._macos_cores(MacOS(perflevel0_physicalcpu=4, physicalcpu=8)) == 4
    assert cores._macos_cores(MacOS(physicalcpu=6)) == 6
    assert cores._macos_cores(MacOS()) is None


class Windows:
    """`cores`: efficiency class and masks, one for each processor group."""

    def __init__(self, cores: list[tuple[int, list[int]]], own: int, every: int) -> None:
        self.own, self.every = own, every
        self.records = b"".join(
            struct.pack("<IIBB20xH", 0, 32 + 16 * len(masks), 0, efficiency, len(masks))
            + b"".join(struct.pack("<QH6x", mask, group) for group, mask in enumerate(masks))
            for efficiency, masks in cores
        )

    def GetLogicalProcessorInformationEx(self, relation, buffer, size) -> int:  # type: ignore[no-untyped-def]
        is_enough = buffer is not None and size._obj.value >= len(self.records)
        size._obj.value = len(self.records)
        if is_enough and relation == 0:
            ctypes.memmove(buffer, self.records, len(self.records))
        return int(is_enough and relation == 0)

    def GetProcessAffinityMask(self, process, own, every) -> int:  # type: ignore[no-untyped-def]
        own._obj.value, every._obj.value = self.own, self.every
        return 1


def test_windows() -> None:
    plain = [(0, [0b0011]), (0, [0b1100])]
    assert cores._windows_cores(Windows(plain, 0xF, 0xF)) == 2
    assert cores._windows_cores(Windows(plain, 0b0110, 0xF)) == 2
    assert cores._windows_cores(Windows(plain, 0b0011, 0xF)) == 1
    hybrid = [(1, [0b0011]), (1, [0b1100]), *((0, [1 << i]) for i in range(4, 12))]
    assert cores._windows_cores(Windows(hybrid, 0xFFF, 0xFFF)) == 2
    assert cores._windows_cores(Windows(hybrid, 0xFF0, 0xFFF)) == 8, "the slow ones, if it may use no others"
    assert cores._windows_cores(Windows([(0, [3 << 2 * i % 64]) for i in range(64)], 0, 0)) == 64
    assert cores._windows_cores(Windows([], 0, 0)) is None


def test_here_it_is_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores.default_threads() <= (os.cpu_count() or 1)
    monkeypatch.setattr(cores, "_physical_cores", lambda cpus: 8)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)
    monkeypatch.setattr(cores, "_quota", lambda: 1 << 20)
    assert cores.default_threads() == 5
    monkeypatch.setattr(cores, "_quota", lambda: 3)
    assert cores.default_threads() == 3
    monkeypatch.setattr(cores, "_physical_cores", lambda cpus: None)
    monkeypatch.setattr(os, "process_cpu_count", lambda: None)
    assert cores.default_threads() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_it_heeds_the_affinity_mask() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.default_threads() == 1
    finally:
        os.sched_setaffinity(0, before)

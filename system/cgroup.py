"""The control groups of Linux that this process is in. The groups above a group limit it too."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """The folders of the groups of a controller ("cpu", "memory"), version 2 or 1, from the innermost to the
    outermost that is visible. `root`: for tests."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    # `hierarchy:controllers:path`; in version 2 hierarchy 0 without controllers
    paths = {
        name: PurePosixPath(path)
        for _, names, path in (line.split(":", 2) for line in groups if line.count(":") >= 2)
        for name in names.split(",")
    }
    for line in mounts:
        about, _, file_system = line.partition(" - ")
        kind, _, options = file_system.partition(" ")
        is_old = kind == "cgroup" and controller in options.replace(" ", ",").split(",")
        path = paths.get(controller if is_old else "")
        fields = about.split(" ")
        if path is None or len(fields) < 5 or not (is_old or kind == "cgroup2"):
            continue
        shown, place = (name.replace(r"\040", " ") for name in fields[3:5])
        # A container may see its own group only, mounted as the root of the tree.
        inner = path.relative_to(shown) if path.is_relative_to(shown) else PurePosixPath()
        for folder in (inner, *inner.parents):
            if ".." not in folder.parts:
                yield root / place.lstrip("/") / folder

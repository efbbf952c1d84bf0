"""How much memory this process may still use, limits of its cgroups included."""

from __future__ import annotations

from pathlib import Path

_UNKNOWN_BYTES = 1 << 30
"""Bytes, where the system does not say."""


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that can be used without swapping; the page cache counts as free.

    Args:
        root: Where ``proc`` and ``sys`` are mounted.
    """
    return min(_available(root), *_cgroup_rooms(root))


def _available(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _UNKNOWN_BYTES


def _cgroup_rooms(root: Path) -> list[int]:
    """What is left below each limit of a cgroup (version 2 or 1) that we are in."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    rooms = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        top = root / "sys/fs/cgroup"
        if controllers == "":
            names = "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
            top = top / "memory"
        else:
            continue
        # A limit of any ancestor binds too. Inside a container the path that the
        # kernel reports need not exist, and the top is our own group.
        folder = top / path.lstrip("/")
        while True:
            rooms.append(_room(folder, *names))
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent
    return [room for room in rooms if room is not None] or [1 << 62]


def _room(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    try:
        allowed = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
        words = (folder / "memory.stat").read_text().split()
        cached = sum(
            int(words[words.index(f"{prefix}{kind}_file") + 1])
            for kind in ("active", "inactive")
        )
    except (OSError, ValueError):  # no such group here, or the limit is "max"
        return None
    return max(0, allowed - used + cached)

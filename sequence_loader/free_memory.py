"""How much memory this process may still use, cgroup limits included."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that can be used without swapping; the page cache counts as free."""
    return min(_available(), *_cgroup_rooms())


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 30  # a kernel that does not say: enough for any window


def _cgroup_rooms(root: Path = _CGROUPS) -> list[int]:
    """What is left below the limit of each cgroup (version 2 or 1) we are in."""
    rooms = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = "memory.max", "memory.current", "inactive_file"
            top = root
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            top = root / "memory"
        else:
            continue
        # A limit of any ancestor binds too; inside a container the path that the
        # kernel reports need not exist, and the root is our own.
        folder = top / path.lstrip("/")
        for place in (folder, *folder.parents):
            rooms.append(_room(place, *names))
            if place == top:
                break
    return [room for room in rooms if room is not None] or [1 << 62]


def _room(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        allowed = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
        stat = (folder / "memory.stat").read_text().split()
        cached = int(stat[stat.index(reclaimable) + 1])
    except (OSError, ValueError):  # no such cgroup here, or the limit is "max"
        return None
    return max(0, allowed - used + cached)

"""How much memory there is, limits of cgroups included."""

from __future__ import annotations

from pathlib import Path

import pytest

from sequence_loader.memory.free_memory import free_memory


def system(root: Path, cgroup: str, **files: str) -> Path:
    """The files in which Linux tells about memory, below `root`."""
    files |= {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  8000 kB\n"}
    files |= {"proc/self/cgroup": cgroup}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestFreeMemory:
    def test_here(self) -> None:
        assert 1 << 20 < free_memory() < 1 << 50

    def test_without_a_limit(self, tmp_path: Path) -> None:
        limits = {"sys/fs/cgroup/a/memory.max": "max\n"}
        assert free_memory(system(tmp_path, "0::/a\n", **limits)) == 8_192_000

    def test_where_nothing_is_known(self, tmp_path: Path) -> None:
        assert free_memory(tmp_path) == 1 << 30

    @pytest.mark.parametrize("limited", ["", "job/", "job/task/"])
    def test_limits_of_version_2(self, limited: str, tmp_path: Path) -> None:
        folder = f"sys/fs/cgroup/{limited}"
        limits = {
            f"{folder}memory.max": "5000\n",
            f"{folder}memory.current": "4000\n",
            f"{folder}memory.stat": "anon 1\ninactive_file 200\nactive_file 30\n",
        }
        root = system(tmp_path, "0::/job/task\n", **limits)
        assert free_memory(root) == 5000 - 4000 + 200 + 30

    def test_limits_of_version_1(self, tmp_path: Path) -> None:
        folder = "sys/fs/cgroup/memory/"  # of a container, which does not see its path
        limits = {
            f"{folder}memory.limit_in_bytes": "5000\n",
            f"{folder}memory.usage_in_bytes": "4990\n",
            f"{folder}memory.stat": "total_inactive_file 7\ntotal_active_file 0\n",
        }
        root = system(tmp_path, "3:cpu:/\n4:memory,x:/docker/a\n0::/\n", **limits)
        assert free_memory(root) == 17

    def test_a_limit_that_was_lowered_below_what_is_used(self, tmp_path: Path) -> None:
        limits = {
            "sys/fs/cgroup/memory.max": "5000\n",
            "sys/fs/cgroup/memory.current": "9000\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 200\nactive_file 30\n",
        }
        assert free_memory(system(tmp_path, "0::/\n", **limits)) == 0

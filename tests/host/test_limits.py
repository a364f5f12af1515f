"""Limits of hosts and containers, from proc and sys trees written by hand after real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from ktstr.host.limits import Usable, usable
from ktstr.host.mounts import read_mounts

ROOT = Path(__file__).parents[2]
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
NO_LIMIT = "9223372036854771712"  # version 1 says so: PAGE_COUNTER_MAX pages


def host(root: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    """A host of 16 GiB."""
    whole = {
        "proc/meminfo": "MemTotal:       16777216 kB\nMemFree:  9 kB\n",
        "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw\n" + mounts,
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }
    for name, text in whole.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_cgroups_affinity_and_memory_decide(tmp_path: Path) -> None:
    assert usable(host(tmp_path, "", "", {}), allowed=6) == Usable(6, 16384)


def test_in_version_2_the_smallest_limit_up_to_the_root_holds(tmp_path: Path) -> None:
    root = host(
        tmp_path,
        V2.format(root="/"),
        "0::/user.slice/app.scope\n",
        {
            "user.slice/app.scope/memory.max": "max\n",
            "user.slice/app.scope/cpu.max": "max 100000\n",
            "user.slice/memory.max": str(3 << 30) + "\n",
            "user.slice/cpu.max": "350000 100000\n",
            "other.slice/memory.max": "1\n",
        },
    )
    assert usable(root, allowed=8) == Usable(3, 3072)
    assert usable(root, allowed=2) == Usable(2, 3072)


def test_a_group_that_would_be_throttled_is_limited_there(tmp_path: Path) -> None:
    files = {"a/memory.max": "max", "a/memory.high": str(1 << 30)}
    assert usable(host(tmp_path, V2.format(root="/"), "0::/a\n", files), allowed=1).memory_mib == 1024


def test_in_version_1_each_controller_has_its_own_group(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/jobs/one/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/jobs/one/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/jobs/cpu.cfs_quota_us": "150000\n",
        "cpu,cpuacct/jobs/cpu.cfs_period_us": "50000\n",
        "memory/m/memory.limit_in_bytes": str(2 << 30) + "\n",
        "memory/memory.limit_in_bytes": NO_LIMIT + "\n",
    }
    groups = "5:cpu,cpuacct:/jobs/one\n4:memory:/m\n1:name=systemd:/\n"
    assert usable(host(tmp_path, V1.format(root="/"), groups, files), allowed=8) == Usable(3, 2048)


def test_a_container_of_version_1_sees_its_group_as_the_top(tmp_path: Path) -> None:
    """Without a cgroup namespace /proc/self/cgroup has the host's path, of which only the end is mounted."""
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "memory/inner/memory.limit_in_bytes": str(512 << 20),
    }
    root = host(
        tmp_path, V1.format(root="/docker/ab12"), "5:cpuacct,cpu:/docker/ab12\n4:memory:/docker/ab12/inner\n", files
    )
    assert usable(root, allowed=8) == Usable(2, 512)


def test_a_group_outside_of_the_namespace_has_the_limits_of_what_is_seen(tmp_path: Path) -> None:
    files = {"memory.max": str(1 << 30)}
    assert usable(host(tmp_path, V2.format(root="/"), "0::/../outside\n", files), allowed=1).memory_mib == 1024
    assert usable(host(tmp_path, V2.format(root="/docker/a"), "0::/elsewhere\n", files), allowed=1).memory_mib == 1024


def test_there_is_always_one_cpu(tmp_path: Path) -> None:
    root = host(tmp_path, V2.format(root="/"), "0::/\n", {"cpu.max": "10000 100000\n"})
    assert usable(root, allowed=8).cpus == 1


@pytest.mark.parametrize("text", ["", "max", "100000", "max x", "1 0", "-1 100000", "many words of it"])
def test_what_cannot_be_read_as_a_limit_is_none(tmp_path: Path, text: str) -> None:
    root = host(tmp_path, V2.format(root="/"), "0::/\nodd\n7\n", {"cpu.max": text, "memory.max": "lots"})
    assert usable(root, allowed=4) == Usable(4, 16384)


def test_this_host_can_be_read() -> None:
    found = usable()
    assert 1 <= found.cpus <= len(os.sched_getaffinity(0))
    assert 0 < found.memory_mib <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _controller(name: str) -> Path | None:
    """Where this host has a version 1 hierarchy for a controller, that this user may make groups in."""
    for mount in read_mounts():
        if mount.fstype == "cgroup" and name in mount.options and os.access(mount.point, os.W_OK):
            return Path(mount.point)
    return None


@pytest.mark.skipif(_controller("cpu") is None, reason="no cgroup of version 1 to make groups in")
def test_a_real_group_with_a_quota_limits_who_is_in_it() -> None:
    top = _controller("cpu")
    assert top is not None
    group = top / f"ktstr-test-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("100000")
        code = (
            "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
            "from ktstr.host.limits import usable; print(usable(allowed=64).cpus)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(group)], cwd=ROOT, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("1\n", "")
    finally:
        group.rmdir()

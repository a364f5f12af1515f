from __future__ import annotations

from pathlib import Path

from ktstr.host.mounts import Mount, mount_of, parse_mountinfo

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 27 0:44 / /mnt/a\\040b rw - nfs4 srv:/x rw
41 27 0:45 / /mnt rw master:2 - tmpfs none rw
garbage
42 27 x:y / /bad rw - ext4 /dev/x rw
"""


def test_mountinfo_gives_device_point_and_type_and_passes_over_other_lines() -> None:
    mounts = parse_mountinfo(MOUNTINFO)
    assert [m.point for m in mounts] == ["/proc", "/", "/mnt/a b", "/mnt"]
    assert mounts[1] == Mount((254, 0), "/", "ext4")


def test_mount_of_takes_the_longest_point_by_whole_components() -> None:
    mounts = parse_mountinfo(MOUNTINFO)
    found = [mount_of(Path(p), mounts) for p in ("/mnt/a b/f", "/mnt/a", "/mntx", "/")]
    assert [m.fstype if m else None for m in found] == ["nfs4", "tmpfs", "ext4", "ext4"]


def test_a_later_mount_on_the_same_point_wins() -> None:
    mounts = (Mount((1, 0), "/m", "ext4"), Mount((2, 0), "/m", "xfs"))
    assert mount_of(Path("/m/f"), mounts) == mounts[1]


def test_a_mount_tells_what_of_its_filesystem_it_shows_and_that_ones_options() -> None:
    text = "34 31 0:32 /docker/a\\040b /sys/fs/cgroup/memory rw,relatime master:9 - cgroup cgroup rw,memory\n"
    (found,) = parse_mountinfo(text)
    assert (found.root, found.options) == ("/docker/a b", ("rw", "memory"))

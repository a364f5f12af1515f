from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from ktstr.lab.qemu import LabFiles, qemu_args

WORK = Path("/w,1")


def after(args: tuple[str, ...], option: str) -> list[str]:
    """The values of an option, in order."""
    return [value for name, value in pairwise(args) if name == option]


def test_the_root_is_exported_read_only_and_nothing_else_is_shared() -> None:
    args = qemu_args(LabFiles(WORK, Path("/fw"), Path("/k"), None), 4096)
    assert after(args, "-virtfs") == ["local,path=/,mount_tag=hostroot,security_model=none,multidevs=remap,readonly=on"]
    assert after(args, "-m") == ["4096M"]
    assert "-netdev" not in args and "-nic" not in args and "-nodefaults" in args


def test_the_shared_folder_is_the_only_one_that_takes_writes() -> None:
    args = qemu_args(LabFiles(WORK, Path("/fw"), Path("/k"), Path("/out")), 4096)
    assert [share.endswith("readonly=on") for share in after(args, "-virtfs")] == [True, False]
    assert after(args, "-virtfs")[1].startswith("local,path=/out,mount_tag=shared,")


def test_a_comma_in_a_path_is_doubled() -> None:
    args = qemu_args(LabFiles(WORK, Path("/fw"), Path("/k"), Path("/a,b")), 4096)
    assert "file,id=status,path=/w,,1/status" in after(args, "-chardev")
    assert after(args, "-virtfs")[1].startswith("local,path=/a,,b,")


def test_more_words_for_the_kernel_come_behind_its_own() -> None:
    args = qemu_args(LabFiles(WORK, Path("/fw"), Path("/k"), None), 4096, ("tsc=unstable", "quiet"))
    assert args[args.index("-append") + 1].endswith(" rdinit=/init tsc=unstable quiet")

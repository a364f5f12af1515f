"""Guests for the tests inside the lab, built outside, where that is fast."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

GUESTS = "KTSTR_LAB_GUESTS"  # in the lab: the folder that ``prepare`` filled
MACHINES, SNAPSHOTS = "machines", "snapshots"  # its folders of C programs


@dataclass(frozen=True)
class Guests:
    """The pinned kernel, images with the real agent and with one that breaks the rules, and the images' parts with
    scx_ktstr and with what tells of the guest's kernel."""

    kernel: Path
    image: Path
    hostile: Path
    scheduler: Path
    facts: Path


def prepare(folder: Path) -> None:
    """Outside: fetch and build them, the VMM, and the C programs that are tests of it."""
    from ktstr.host.cache import Cache, cache_root
    from ktstr.kernels.cache import read_entry
    from ktstr.kernels.symbols import symbols_of
    from ktstr.pins.lock import read_lock
    from ktstr.vm.vmm_build import find_vmm
    from tests.c.objects import LANGUAGE
    from tests.c.vmm_objects import build_machines, build_snapshots
    from tests.e2e.programs import scx_ktstr_part
    from tests.introspect.guests import facts_part
    from tests.vm.test_qemu import ROOT, build_lab

    find_vmm(os.environ)
    kernel = build_lab(folder).kernel
    (folder / "kernel").symlink_to(kernel)
    part = scx_ktstr_part(
        kernel.with_name("vmlinux.btf"), read_lock(ROOT / "ktstr.lock"), Cache(cache_root(os.environ))
    )
    (folder / "scheduler.cpio").write_bytes(part)
    (folder / "facts.cpio").write_bytes(facts_part(folder))
    symbols_of(read_entry(kernel.parent))  # decoding them takes half a minute inside
    for build, made in ((build_machines, folder / MACHINES), (build_snapshots, folder / SNAPSHOTS)):
        made.mkdir()
        build(folder / "objects", made, *LANGUAGE)


def prepared() -> Guests:
    """Inside: what ``prepare`` left."""
    folder = Path(os.environ[GUESTS])
    names = ("agent.cpio", "hostile.cpio", "scheduler.cpio", "facts.cpio")
    return Guests((folder / "kernel").resolve(), *(folder / name for name in names))


def program(kind: str, name: str) -> Path:
    """Inside: a C program that ``prepare`` built, with what it needs beside it."""
    return Path(os.environ[GUESTS]) / kind / name

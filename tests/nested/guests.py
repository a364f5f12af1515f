"""Guests for the tests inside the lab, built outside, where that is fast."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

GUESTS = "KTSTR_LAB_GUESTS"  # in the lab: the folder that ``prepare`` filled


@dataclass(frozen=True)
class Guests:
    """The pinned kernel, and images with the real agent and with one that breaks the rules."""

    kernel: Path
    image: Path
    hostile: Path


def prepare(folder: Path) -> None:
    """Outside: fetch and build them, and the VMM."""
    from ktstr.vm.vmm_build import find_vmm
    from tests.vm.test_qemu import build_lab

    find_vmm(os.environ)
    (folder / "kernel").symlink_to(build_lab(folder).kernel)


def prepared() -> Guests:
    """Inside: what ``prepare`` left."""
    folder = Path(os.environ[GUESTS])
    return Guests((folder / "kernel").resolve(), folder / "agent.cpio", folder / "hostile.cpio")

"""What ``/dev/kvm`` says of itself, and why that proves nothing.

A paravirtual or emulated KVM opens, creates machines and then stops at the first
instruction it cannot emulate. Only a guest that ran to its end proves that KVM works.
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

DEVICE = Path("/dev/kvm")
KVM_GET_API_VERSION = 0xAE00  # _IO(KVMIO, 0x00), include/uapi/linux/kvm.h
KVM_API_VERSION = 12  # the only version any kernel since 2.6.22 answers


@dataclass(frozen=True)
class Kvm:
    """``usable``: False when it certainly is not, None when it opens and nothing was proven."""

    usable: bool | None
    detail: str
    fix: str | None = None


def probe(device: Path = DEVICE) -> Kvm:
    """Open the device and ask for its version. Starts no guest, so it never answers ``usable=True``."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        return _unopened(device, err)
    try:
        version = fcntl.ioctl(fd, KVM_GET_API_VERSION, 0)
    except OSError as err:
        return Kvm(False, f"{device} opens, but is no KVM: {err.strerror}")
    finally:
        os.close(fd)
    if version != KVM_API_VERSION:
        return Kvm(False, f"{device} speaks API version {version}, expected {KVM_API_VERSION}")
    return Kvm(None, f"{device} opens, which proves nothing: no guest has run in it")


def _unopened(device: Path, err: OSError) -> Kvm:
    if err.errno in (errno.EACCES, errno.EPERM):
        return Kvm(False, f"{device} may not be opened by this user", f"as root: usermod -aG kvm {_user()}")
    if err.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Kvm(False, f"{device} does not exist", "as root: modprobe kvm_intel || modprobe kvm_amd")
    return Kvm(False, f"{device} cannot be opened: {err.strerror}")


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())

"""The lab is what the other tests here take it for."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_CREATE_VCPU = 0xAE00, 0xAE01, 0xAE41  # linux/kvm.h
API_VERSION = 12  # the only one there ever was since 2.6.22


def test_kvm_makes_machines() -> None:
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    assert fcntl.ioctl(kvm, KVM_GET_API_VERSION) == API_VERSION
    machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    vcpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
    assert str(Path(f"/proc/self/fd/{vcpu}").readlink()) == "anon_inode:kvm-vcpu:0"
    for fd in (vcpu, machine, kvm):
        os.close(fd)


def test_paging_is_nested() -> None:
    assert Path("/sys/module/kvm_amd/parameters/npt").read_text() == "Y\n"


def test_two_cpus_are_there() -> None:
    assert os.cpu_count() == 2


def test_a_cpu_that_hangs_ends_it() -> None:
    assert Path("/proc/sys/kernel/softlockup_panic").read_text() == "1\n"
    assert Path("/proc/sys/kernel/panic_on_rcu_stall").read_text() == "1\n"
    assert Path("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout").read_text() == "60\n"

"""What is said of this host is what it says itself."""

from __future__ import annotations

import os
from pathlib import Path

from ktstr.host.identity import host_class, host_identity


def test_a_saved_machine_is_of_this_cpu_and_this_boot() -> None:
    found = host_identity()
    assert found[: len(host_class())] == host_class()
    assert os.uname().release in found
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() in found
    cpuinfo = Path("/proc/cpuinfo").read_text()
    assert found[0] in cpuinfo
    assert found[-2] and f": {found[-2]}\n" in cpuinfo  # what the CPU can do

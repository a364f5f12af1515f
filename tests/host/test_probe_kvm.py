"""What can be said of a KVM device without starting a guest."""

from __future__ import annotations

import os
from pathlib import Path

from ktstr.host import probe_kvm


def test_no_device_names_the_modules(tmp_path: Path) -> None:
    found = probe_kvm.probe(tmp_path / "kvm")
    assert found.usable is False
    assert "modprobe kvm" in (found.fix or "")


def test_a_device_that_is_no_kvm_is_not_usable() -> None:
    found = probe_kvm.probe(Path("/dev/null"))
    assert found.usable is False
    assert "is no KVM" in found.detail


def test_a_real_device_is_never_called_usable_before_a_guest_ran() -> None:
    found = probe_kvm.probe()
    assert found.usable is (None if os.access(probe_kvm.DEVICE, os.R_OK | os.W_OK) else False)

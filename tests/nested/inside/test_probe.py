"""The probe guest where KVM is known to work, and beside it guests that do each thing a KVM must not."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr import resources
from ktstr.config.topology import Topology
from ktstr.host.cache import Cache, cache_root
from ktstr.planning import readiness
from ktstr.planning.readiness import Finding
from ktstr.vm import probe_kvm
from ktstr.vm.vmm import Vmm, VmmConfig
from ktstr.vm.vmm_build import load_vmm, planned
from tests.nested.inside.test_vmm import elf

SOURCE = (resources.c_dir() / "probe" / "probe.c").read_text(encoding="ascii")
SLEEP, FAULT, RESET, SPIN = b"\xf4", b"\x0f\x0b", b"\xb0\xfe\xe6\x64\xf4", b"\xeb\xfe"
SAY = b"\x66\xba\xf8\x03\xb0A\xee"  # mov dx, 0x3f8; mov al, 'A'; out dx, al


@pytest.fixture(scope="module")
def extension() -> Path:
    found = planned(Cache(cache_root(os.environ)), os.environ)
    if not found.path.is_file():
        found.make()
    return found.path


@pytest.fixture
def environ(extension: Path, tmp_path: Path) -> dict[str, str]:
    """With a cache that has the VMM and nothing else."""
    cache = tmp_path / "cache"
    cache.mkdir()
    if cache_root(os.environ) in extension.parents:
        (cache / "vmm").symlink_to(extension.parent.parent)
    return {**os.environ, "KTSTR_CACHE_DIR": str(cache)}


def test_the_probe_guest_runs_to_its_end_and_does_every_step(extension: Path, tmp_path: Path) -> None:
    probe_kvm.build_guest(tmp_path / "guest", os.environ)
    run = probe_kvm.run_guest(extension, tmp_path / "guest")
    assert run.reason == "power_off", run
    assert sorted(run.console.splitlines()) == sorted(re.findall(r'say\("(.*)\\n"\);', SOURCE))
    assert probe_kvm.verdict(run).usable is True


@contextmanager
def busy_cpus(count: int) -> Iterator[None]:
    """So many others that compute, from the start of the block on."""
    busy = [subprocess.Popen(["sh", "-c", "echo; while :; do :; done"], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in busy:
            assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield
    finally:
        for process in busy:
            process.kill()
            process.communicate()


def test_a_busy_host_is_no_slow_kvm(extension: Path, tmp_path: Path) -> None:
    """The guest alone, in its time: others want the CPUs twice over."""
    probe_kvm.build_guest(tmp_path / "guest", os.environ)
    topology = Topology.parse(probe_kvm.LABEL)
    config = VmmConfig(tmp_path / "guest", topology, probe_kvm.MEMORY_MIB, deadline_ms=probe_kvm.GUEST_MS)
    with (
        (tmp_path / "console").open("wb") as console,
        Vmm(load_vmm(extension), replace(config, console_fd=console.fileno())) as vmm,
        busy_cpus(2 * (os.cpu_count() or 1)),
    ):
        vmm.start()
        ended = vmm.wait(None)
    assert ended is not None
    assert ended.reason == "power_off", (ended, (tmp_path / "console").read_text())


def test_a_verdict_is_made_once_but_the_doctor_looks_anew(environ: dict[str, str]) -> None:
    found = probe_kvm.judge(environ)
    assert found.usable is True
    place = cache_root(environ) / probe_kvm.REMEMBERED
    place.write_text(place.read_text().replace("ran to its end", "was remembered"))
    assert probe_kvm.judge(environ).detail == "KVM runs guests: the probe guest was remembered"
    assert readiness.kvm(environ) == Finding("kvm", True, f"{found.detail}; accel=auto uses kvm")
    assert probe_kvm.judge(environ) == found


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        (SAY + FAULT, "triple_fault", "stopped at 'A': triple fault"),
        (SAY + RESET, "reset", "stopped at 'A': with a wrong result"),
        (SAY + SPIN, "deadline", "stopped at 'A': not done after 900 ms"),
        (SLEEP, "deadline", "stopped before its first step: not done after 900 ms"),
    ],
    ids=("faults", "resets", "spins", "sleeps"),
)
def test_a_guest_that_does_not_turn_itself_off_is_no_proof(
    extension: Path, tmp_path: Path, code: bytes, reason: str, says: str
) -> None:
    kernel = elf()
    (tmp_path / "guest").write_bytes(kernel[:120] + code + kernel[120 + len(code) :])
    run = probe_kvm.run_guest(extension, tmp_path / "guest")
    assert run.reason == reason
    found = probe_kvm.verdict(run)
    assert found.usable is False
    assert says in found.detail

"""What of the KVM machine needs no KVM: tests/nested runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import ktstr
from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import HostError, InputError
from ktstr.host.identity import host_identity
from ktstr.vm.kvm import KvmMachine
from ktstr.vm.kvm_run import dilation
from ktstr.vm.machine import GuestSpec, Place
from ktstr.vm.performance import Performance
from ktstr.vm.snapshot import Snapshot, SnapshotFacts
from ktstr.vm.vmm_build import Extension
from tests.checks.reports import kvm_run

SPEC = GuestSpec(Path("/k/vmlinux"), (Path("/i/image.cpio"),), Topology(2, 4, 2, 1), 1024, ("quirk=1",))


def machine(folder: Path) -> KvmMachine:
    return KvmMachine(Extension(folder / "gone.so", "d" * 64, None))


def test_the_command_line_says_what_the_machine_is_and_names_no_file(tmp_path: Path) -> None:
    found = machine(tmp_path).command_line(SPEC)
    assert found[:5] == ("ktstr-vmm", "topology=2n4l2c1t", "distances=10,20,20,10", "memory=1024M", "vendor=host")
    assert found[5] == "append"
    assert {"reboot=k", "rdinit=/init", "quirk=1"} <= set(found[6].split())
    assert "reboot=p" not in found[6]
    assert not any("/k/" in word or "/i/" in word for word in found)


def test_everything_that_changes_a_run_changes_the_command_line(tmp_path: Path) -> None:
    kvm = machine(tmp_path)
    specs = (
        SPEC,
        replace(SPEC, memory_mib=2048),
        replace(SPEC, topology=Topology(2, 4, 2, 1, ((10, 31), (31, 10)))),
        replace(SPEC, topology=Topology(1, 4, 2, 1)),
        replace(SPEC, kernel_args=()),
        replace(SPEC, performance=True),
    )
    assert len({kvm.command_line(spec) for spec in specs}) == len(specs)
    same = replace(SPEC, kernel=Path("/other"), setup=b"s", program=b"x", parks=True)
    assert kvm.command_line(same) == kvm.command_line(SPEC)
    assert kvm.parking_line(same) == kvm.parking_line(SPEC)
    assert len({kvm.parking_line(spec) for spec in specs}) == len(specs)


def test_a_machine_that_is_parked_waits_for_its_program_and_is_this_hosts(tmp_path: Path) -> None:
    kvm = machine(tmp_path)
    line, parked = kvm.command_line(SPEC), kvm.parking_line(SPEC)
    assert parked[:6] == line[:6]
    assert set(parked[6].split()) - set(line[6].split()) == {"ktstr.wait"}
    assert parked[7:] == ("host", *host_identity())
    assert not any("/k/" in word or "/i/" in word for word in parked[:7])


def test_it_says_who_it_is(tmp_path: Path) -> None:
    kvm = machine(tmp_path)
    assert (kvm.accel, kvm.digest, kvm.label) == ("kvm", "d" * 64, f"ktstr VMM {ktstr.__version__} KVM")


def test_an_argument_of_ktstrs_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ktstr\.wait"):
        machine(tmp_path).command_line(replace(SPEC, kernel_args=("ktstr.wait",)))


def test_a_vmm_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"gone\.so: is gone"):
        machine(tmp_path).start(SPEC, tmp_path, 10, Cancel())


@pytest.mark.parametrize(
    ("run", "wait", "expected"), [((100, 300), (0, 0), 1.0), ((100, 300), (100, 100), 1.5), ((0, 0), (5, 5), None)]
)
def test_dilation_is_what_the_host_made_the_vcpus_wait(
    run: tuple[int, ...], wait: tuple[int, ...], expected: float | None
) -> None:
    assert dilation(kvm_run(*wait, host_run_ns=run)) == expected


def test_performance_mode_needs_a_plan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a place with a plan"):
        machine(tmp_path).start(replace(SPEC, performance=True), tmp_path, 10, Cancel())


def test_performance_mode_boots(tmp_path: Path) -> None:
    alone = replace(SPEC, performance=True)
    place = Place((0,), Performance((0,), (), 0, 0, (), 0))
    kept = Snapshot(SnapshotFacts("booted", "0" * 64, (0,), 0), (0,), 0, channel=b"", console=b"")
    with pytest.raises(ValueError, match="performance mode boots"):
        machine(tmp_path).start(alone, tmp_path, 10, Cancel(), place, kept)
    with pytest.raises(ValueError, match="performance mode boots"):
        machine(tmp_path).park(alone, tmp_path, 10, Cancel(), place)
    assert list(tmp_path.iterdir()) == []

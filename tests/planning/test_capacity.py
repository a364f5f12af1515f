"""What a host is too small for, and what it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.topology import PRESETS, Topology
from ktstr.host.cpu_topology import HostTopology, Llc
from ktstr.planning.capacity import Capacity, Wanted, shortage, this_host


def host(cpus: int, memory_mib: int = 64_000, timeout_s: float = 900) -> Capacity:
    """A host with one LLC for every four CPUs."""
    llcs = tuple(Llc(i, tuple(range(4 * i, min(4 * i + 4, cpus))), 0) for i in range(-(-cpus // 4)))
    return Capacity(cpus, memory_mib, HostTopology(llcs, {}, {}), frozenset(range(cpus)), timeout_s)


def wanted(preset: str, accel: str = "tcg", **more: object) -> Wanted:
    return replace(Wanted(Topology.parse(PRESETS.get(preset, preset)), accel), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("accel", ["kvm", "icount", "tcg"])
def test_small_guests_are_for_every_host(accel: str) -> None:
    for preset in ("tiny-1llc", "tiny-2llc", "smt-2llc", "odd-5llc"):
        assert shortage(wanted(preset, accel), host(2)) is None


def test_kvm_takes_eight_vcpus_to_a_cpu() -> None:
    assert shortage(wanted("1n1l16c1t", "kvm"), host(2)) is None
    assert shortage(wanted("1n1l17c1t", "kvm"), host(2)) == (
        "1n1l17c1t has 17 vCPUs, this host 2 CPUs: more than 8 to one do not boot on KVM"
    )
    assert shortage(wanted("max-cpu", "kvm"), host(32)) is None


def test_an_emulated_guest_is_skipped_when_its_boot_takes_longer_than_its_limit() -> None:
    hurried = host(2, timeout_s=10)
    assert shortage(wanted("tiny-1llc"), hurried) is None
    said = shortage(wanted("medium-8llc"), hurried)
    assert said is not None
    assert said.startswith("1n8l4c2t boots in about ") and said.endswith(
        " s with 64 vCPUs on 2 CPUs under tcg, and timeout= is 10 s"
    )


def test_an_emulated_guest_has_no_vcpu_whose_id_takes_nine_bits() -> None:
    """14 LLCs take 4 bits, 9 cores 4, 2 threads 1."""
    for accel in ("icount", "tcg"):
        assert shortage(wanted("max-cpu", accel), host(64)) == (
            "1n14l9c2t has APIC ids up to 433, and of an emulated guest the kernel starts no vCPU above 254"
        )
        assert shortage(wanted("near-max-llc", accel), host(64)) is None
    assert shortage(wanted("max-cpu", "kvm"), host(64)) is None


def test_memory_that_a_test_asks_for_is_counted_whole() -> None:
    small = host(4, memory_mib=4096)
    assert shortage(wanted("tiny-1llc", memory_mib=3000), small) is None
    assert shortage(wanted("tiny-1llc", memory_mib=8000), small) == (
        "1n1l4c1t takes 8384 MiB of memory, this host lets it have 4096"
    )


def test_performance_mode_needs_whole_llcs_and_one_cpu_more() -> None:
    assert shortage(wanted("1n1l4c1t", "kvm", performance=True), host(8)) is None
    assert shortage(wanted("1n2l4c1t", "kvm", performance=True), host(8)) == (
        "performance mode needs 2 LLCs of 4 CPUs and one CPU more; this host has 2 such LLCs and 8 CPUs"
    )
    assert shortage(wanted("1n2l4c1t", "icount", performance=True), host(2)) is None


@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 128), st.sampled_from(["kvm", "icount", "tcg"]))
def test_a_larger_host_never_refuses_what_a_smaller_one_takes(preset: str, cpus: int, accel: str) -> None:
    if shortage(wanted(preset, accel), host(cpus)) is None:
        assert shortage(wanted(preset, accel), host(cpus + 1)) is None


def test_this_host_is_read() -> None:
    here = this_host(12.5)
    assert here.timeout_s == 12.5
    assert 1 <= here.cpus <= len(here.allowed)
    assert here.memory_mib > 0

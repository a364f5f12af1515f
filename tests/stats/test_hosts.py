"""Hosts as text, and what differs between two."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ktstr.errors import InputError
from ktstr.record.host import HeapState, Host
from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import dump
from ktstr.stats.hosts import diff, host_of_run, to_text, without_heap
from tests.results.cells import sidecar

HEAP = HeapState(active_bytes=2, allocated_bytes=1, resident_bytes=3, mapped_bytes=4, narenas=5)
FULL = Host(
    cpu_model="A CPU", cpu_vendor="GenuineIntel", total_memory_kb=100, hugepages_total=3, hugepages_free=1,
    hugepages_size_kb=2048, thp_enabled="always [madvise] never", thp_defrag="[always] defer",
    sched_tunables={"sched_a": "1", "sched_b": "2"}, online_cpus=12, numa_nodes=2,
    cpufreq_governor={"10": "powersave", "2": "performance"}, kernel_name="Linux", kernel_release="6.1.0-x",
    arch="x86_64", kernel_cmdline="root=/dev/vda ro", heap_state=HEAP,
)  # fmt: skip


def write(folder: Path, name: str, whole: Sidecar) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(dump(whole))


def test_every_field_is_a_line_in_the_documented_order() -> None:
    assert to_text(FULL) == (
        "kernel_name: Linux\n"
        "kernel_release: 6.1.0-x\n"
        "arch: x86_64\n"
        "cpu_model: A CPU\n"
        "cpu_vendor: GenuineIntel\n"
        "total_memory_kb: 100\n"
        "hugepages_total: 3\n"
        "hugepages_free: 1\n"
        "hugepages_size_kb: 2048\n"
        "online_cpus: 12\n"
        "numa_nodes: 2\n"
        "thp_enabled: always [madvise] never\n"
        "thp_defrag: [always] defer\n"
        "kernel_cmdline: root=/dev/vda ro\n"
        "cpufreq_governor:\n"
        "  cpu2 = performance\n"
        "  cpu10 = powersave\n"
        "sched_tunables:\n"
        "  sched_a = 1\n"
        "  sched_b = 2\n"
        "heap_state:\n"
        "  allocated_bytes: 1\n"
        "  active_bytes: 2\n"
        "  resident_bytes: 3\n"
        "  mapped_bytes: 4\n"
        "  narenas: 5\n"
    )


def test_what_was_not_read_is_unknown_and_no_tunables_are_empty() -> None:
    lines = to_text(Host()).splitlines()
    assert lines[0] == "kernel_name: (unknown)"
    assert lines[-3:] == ["cpufreq_governor: (empty)", "sched_tunables: (unknown)", "heap_state: (unknown)"]
    assert "sched_tunables: (empty)" in to_text(Host(sched_tunables={})).splitlines()


def test_why_a_machine_was_chosen_comes_last_and_only_when_it_was_recorded() -> None:
    assert to_text(Host(accel_reason="no KVM")).splitlines()[-1] == "accel_reason: no KVM"
    assert "accel_reason" not in to_text(Host())


def test_what_a_stranger_wrote_cannot_move_the_cursor() -> None:
    text = to_text(Host(cpu_model="a\x1b[2Jb", sched_tunables={"k\n": "v\r"}))
    assert "cpu_model: a?[2Jb" in text
    assert "  k? = v?\n" in text


def test_equal_hosts_have_no_difference() -> None:
    assert diff(FULL, FULL) == diff(Host(), Host()) == ""


def test_only_what_changed_is_listed_and_in_the_order_of_the_fields() -> None:
    new = replace(FULL, kernel_release="6.2.0", thp_defrag=UNSET, online_cpus=8, kernel_cmdline="ro")
    assert diff(FULL, new) == (
        "  kernel_release: 6.1.0-x → 6.2.0\n"
        "  online_cpus: 12 → 8\n"
        "  thp_defrag: [always] defer → (unknown)\n"
        "  kernel_cmdline: root=/dev/vda ro → ro\n"
    )


def test_entries_of_maps_are_compared_one_by_one() -> None:
    new = replace(
        FULL, cpufreq_governor={"2": "powersave"}, sched_tunables={"sched_a": "1", "sched_b": "3", "sched_c": "4"}
    )
    assert diff(FULL, new) == (
        "  cpufreq_governor.cpu2: performance → powersave\n"
        "  cpufreq_governor.cpu10: powersave → (absent)\n"
        "  sched_tunables.sched_b: 2 → 3\n"
        "  sched_tunables.sched_c: (absent) → 4\n"
    )


@pytest.mark.parametrize(
    ("tunables", "shown"), [({}, "(empty)"), ({"a": "1"}, "(1 entry)"), ({"a": "1", "b": "2"}, "(2 entries)")]
)
def test_tunables_that_appear_or_go_are_summed_up(tunables: dict[str, str], shown: str) -> None:
    some = Host(sched_tunables=tunables)
    assert diff(Host(), some) == f"  sched_tunables: (unknown) → {shown}\n"
    assert diff(some, Host()) == f"  sched_tunables: {shown} → (unknown)\n"


def test_the_heap_is_compared_field_by_field_or_as_present() -> None:
    assert diff(FULL, replace(FULL, heap_state=replace(HEAP, narenas=6))) == "  heap_state.narenas: 5 → 6\n"
    assert diff(FULL, without_heap(FULL)) == "  heap_state: (present) → (unknown)\n"
    assert diff(without_heap(FULL), without_heap(FULL)) == ""


def test_why_a_machine_was_chosen_is_no_difference_between_hosts() -> None:
    assert diff(Host(accel_reason="a"), Host(accel_reason="b")) == ""


def test_the_first_sidecar_that_has_a_host_gives_it(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar(host=None))
    (tmp_path / "b.ktstr.json").write_text("{")
    write(tmp_path, "icount-s0/c.ktstr.json", sidecar(host=FULL))
    write(tmp_path, "icount-s1/d.ktstr.json", sidecar(host=Host(arch="z")))
    assert host_of_run(tmp_path, "r") == FULL


def test_a_run_without_sidecars_and_one_without_a_host_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run=r: found no sidecar in "):
        host_of_run(tmp_path, "r")
    write(tmp_path, "a.ktstr.json", sidecar(host=None))
    (tmp_path / "b.ktstr.json").write_text("{")
    with pytest.raises(InputError, match=r"found 2 sidecar\(s\), 1 of them unreadable") as caught:
        host_of_run(tmp_path, "r")
    assert "measure again" in (caught.value.fix or "")

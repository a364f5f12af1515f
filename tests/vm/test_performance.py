from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.topology import PRESETS, Topology
from ktstr.errors import HostError
from ktstr.host.cpu_topology import HostTopology, Llc, read_topology
from ktstr.record.codec import decode, encode
from ktstr.record.machine import PerformanceMode
from ktstr.vm.performance import (
    Core,
    HostState,
    PinPlan,
    features,
    plan,
    prepare_performance,
    read_cores,
    read_state,
)

HEADER = (Path(__file__).parents[2] / "vmm_c/include/ktstr_vmm.h").read_text(encoding="utf-8")
FLAGS = {name: int(value) for name, value in re.findall(r"VMM_([A-Z_]+) = (\d+),", HEADER)}
ALL = FLAGS["REALTIME_HINT"] | FLAGS["KEEP_PAUSE"] | FLAGS["KEEP_HALT"] | FLAGS["POPULATE"]
READY = HostState(
    rt_priority=99, huge_pages=4096, node_huge_pages={0: 2048, 1: 2048}, free_mib={0: 8192, 1: 8192},
    memory_nodes=3, running=0, clocksource="tsc",
)  # fmt: skip
ONE = Topology.parse("1n1l2c1t")


@dataclass(frozen=True)
class Taken:
    cpus: tuple[int, ...]
    llcs: tuple[int, ...]


def host(*llcs: tuple[tuple[int, ...], int | None]) -> HostTopology:
    """LLCs as (CPUs, node)."""
    listed = tuple(Llc(i, cpus, node) for i, (cpus, node) in enumerate(llcs))
    return HostTopology(listed, {c: n for cpus, n in llcs if n is not None for c in cpus}, {})


def whole(found: HostTopology) -> Taken:
    return Taken(found.cpus, tuple(llc.index for llc in found.llcs))


def smt(*pairs: tuple[int, int]) -> dict[int, Core]:
    """Host cores 0, 1, ... of these two CPUs each."""
    return {cpu: (0, 0, core) for core, pair in enumerate(pairs) for cpu in pair}


def placed(label: str, found: HostTopology, cores: dict[int, Core] | None = None) -> PinPlan:
    return plan(Topology.parse(label), found, found.cpus, whole(found), cores)


def test_each_guest_llc_has_a_host_llc_of_its_own_and_one_cpu_is_left() -> None:
    found = placed("1n2l2c1t", host(((0, 1, 2), 0), ((3, 4, 5), 0)))
    assert found == PinPlan((0, 1, 3, 4), (1,), 2)


def test_threads_of_a_guest_core_are_siblings_on_a_host_that_numbers_them_apart() -> None:
    two = host(((0, 1, 4, 5), 0), ((2, 3, 6, 7), 0), ((8, 9), 0))
    found = placed("1n2l2c2t", two, smt((0, 4), (1, 5), (2, 6), (3, 7), (8, 9)))
    assert found == PinPlan((0, 4, 1, 5, 2, 6, 3, 7), (1,), 8)


def test_guest_cores_without_smt_take_one_thread_of_each_host_core_and_the_host_keeps_a_free_core() -> None:
    found = placed("1n1l2c1t", host(((0, 1, 2, 3, 4, 5), 0)), smt((0, 1), (2, 3), (4, 5)))
    assert found == PinPlan((0, 2), (1,), 4)


def test_guest_cores_that_have_to_share_host_cores_are_told() -> None:
    found = placed("1n1l3c1t", host(((0, 1, 2, 3), 0)), smt((0, 1), (2, 3)))
    assert (found.pin, found.service_cpu) == ((0, 1, 2), 3)
    assert found.warnings == ("guest cores share host cores: 2 host cores of an LLC have 1 CPUs for 3",)


def test_guest_smt_on_a_host_without_it_is_told() -> None:
    found = placed("1n1l1c2t", host(((0, 1, 2), 0)))
    assert found.pin == (0, 1)
    assert "the threads of guest cores are not all SMT siblings here" in found.warnings[0]


def test_guest_nodes_are_on_host_nodes_however_the_host_numbers_its_llcs() -> None:
    mixed = host(((0, 1), 0), ((2, 3), 1), ((4, 5), 0), ((6, 7), 1), ((8,), 0))
    found = placed("2n4l2c1t", mixed)
    assert found == PinPlan((0, 1, 4, 5, 2, 3, 6, 7), (0b01, 0b10), 8)


def test_guest_nodes_share_a_host_node_when_there_is_only_one() -> None:
    found = placed("2n2l1c1t", host(((0,), 0), ((1,), 0), ((2,), 0)))
    assert (found.pin, found.node_masks) == ((0, 1), (1, 1))
    assert found.warnings == ("2 guest nodes share 1 host node(s): memory far to the guest is near here",)


def test_a_guest_node_too_large_for_a_host_node_takes_memory_of_all_its_llcs_nodes() -> None:
    found = placed("1n2l1c1t", host(((0,), 0), ((1, 2), 1)))
    assert (found.pin, found.node_masks, found.service_cpu) == ((0, 1), (0b11,), 2)
    assert "are on several host nodes" in found.warnings[0]


def test_a_host_without_numa_binds_nothing_and_that_is_no_warning() -> None:
    assert placed("1n1l1c1t", host(((0, 1), None))) == PinPlan((0,), (0,), 1)


def test_a_node_that_a_mask_cannot_name_is_told() -> None:
    found = placed("1n1l1c1t", host(((0, 1), 64)))
    assert found.node_masks == (0,) and "above 63" in found.warnings[0]


def test_cpus_that_are_not_reserved_or_not_allowed_get_no_vcpu() -> None:
    found = plan(ONE, host(((0, 1, 2, 3), 0)), (1, 2, 3), Taken((0, 1, 2), (0,)))
    assert (found.pin, found.service_cpu) == ((1, 2), 3)


def test_an_llc_that_is_not_reserved_is_not_used() -> None:
    two = host(((0, 1, 2), 0), ((3, 4, 5), 0))
    assert plan(ONE, two, two.cpus, Taken((3, 4, 5), (1,))) == PinPlan((3, 4), (1,), 5)


def test_the_cpu_that_is_left_may_be_outside_of_what_is_reserved() -> None:
    two = host(((0, 1), 0), ((2, 3), 0))
    assert plan(ONE, two, two.cpus, Taken((2, 3), (1,))).service_cpu == 0


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("1n3l1c1t", "needs 3 host LLCs of 1 CPUs, and 2 of those reserved (2) have so many"),
        ("1n1l4c1t", "needs 1 host LLCs of 4 CPUs, and 0 of those reserved (2) have so many"),
        ("1n2l2c1t", "its 4 vCPUs take all 4 CPUs this process may use"),
    ],
)
def test_a_host_that_is_too_small_is_refused_by_what_it_lacks(label: str, said: str) -> None:
    with pytest.raises(HostError) as error:
        placed(label, host(((0, 1), 0), ((2, 3), 0)))
    assert said in error.value.message and label in error.value.message
    assert error.value.fix == "a smaller preset, or no_perf_mode=1"


@given(
    st.sampled_from(sorted(PRESETS.values())),
    st.integers(0, 2),
    st.integers(1, 4),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_no_host_cpu_runs_two_vcpus_and_llcs_stay_apart(
    label: str, more: int, nodes: int, threads: bool, random: object
) -> None:
    guest = Topology.parse(label)
    size = guest.most_cpus_per_llc + more
    numbers = list(range((guest.llcs + more) * size + 1))
    random.shuffle(numbers)  # type: ignore[attr-defined]
    groups = [tuple(sorted(numbers[i * size : (i + 1) * size])) for i in range(guest.llcs + more)]
    found = host(*((cpus, i % nodes) for i, cpus in enumerate(groups)), ((numbers[-1],), 0))
    cores = {cpu: (0, 0, cpu // 2) for cpu in numbers} if threads else {}
    result = plan(guest, found, found.cpus, whole(found), cores)
    assert len(set(result.pin)) == guest.cpus == len(result.pin)
    assert result.service_cpu in found.cpus and result.service_cpu not in result.pin
    llc_of = {cpu: llc.index for llc in found.llcs for cpu in llc.cpus}
    used = [{llc_of[result.pin[cpu]] for cpu in guest.llc_cpus(llc)} for llc in range(guest.llcs)]
    assert all(len(llcs) == 1 for llcs in used) and len(set.union(*used)) == guest.llcs
    for node in range(guest.numa_nodes):
        nodes_used = {found.node_of[result.pin[cpu]] for cpu in guest.node_cpus(node)}
        assert result.node_masks[node] == sum(1 << n for n in nodes_used)


PINS = PinPlan((0, 1), (0b1, 0b10), 2)
TWO = Topology.parse("2n2l1c1t")


def test_a_host_that_has_all_of_it_gets_all_flags_of_the_header_and_no_warning() -> None:
    found = features(TWO, 512, PINS, READY)
    assert found.warnings == ()
    assert found.flags == sum(FLAGS.values()) and set(FLAGS) == {
        "REALTIME_HINT", "KEEP_PAUSE", "KEEP_HALT", "HUGE_PAGES", "POPULATE",
    }  # fmt: skip
    assert (found.pin, found.node_masks, found.fifo_priority, found.service_cpu) == ((0, 1), (1, 2), 1, 2)
    assert found.as_json() == {
        "pin": [0, 1], "memory_nodes": [[0], [1]], "service_cpu": 2, "fifo_priority": 1, "realtime_hint": True,
        "keep_pause": True, "keep_halt": True, "huge_pages": True, "populate": True,
    }  # fmt: skip
    recorded = encode(decode(PerformanceMode, found.as_json()))
    assert json.dumps(recorded) == json.dumps(found.as_json()), "as a record and a sidecar have it"


def test_the_supervisor_needs_one_priority_more_than_vcpus() -> None:
    assert features(TWO, 512, PINS, replace(READY, rt_priority=2)).fifo_priority == 1
    found = features(TWO, 512, PINS, replace(READY, rt_priority=1))
    assert found.fifo_priority == 0 and found.as_json()["fifo_priority"] is None
    assert "priorities up to 1, and 2 is needed" in found.warnings[0] and "limits.conf" in found.warnings[0]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (replace(READY, huge_pages=255), "256 are needed and 255 are free; as root: echo 256 >"),
        (
            replace(READY, node_huge_pages={0: 300, 1: 127}),
            "256 are needed and 4096 are free, too few of them on host node(s) 1; as root",
        ),
    ],
)
def test_large_pages_are_asked_for_only_when_there_are_enough_where_they_are_needed(
    state: HostState, said: str
) -> None:
    found = features(TWO, 512, PINS, state)
    assert found.flags == ALL and found.node_masks == (1, 2)
    assert len(found.warnings) == 1 and said in found.warnings[0]


def test_two_guest_nodes_on_one_host_node_need_twice_its_pages() -> None:
    shared = replace(PINS, node_masks=(1, 1))
    assert features(TWO, 512, shared, replace(READY, node_huge_pages={0: 256})).flags & FLAGS["HUGE_PAGES"]
    assert not features(TWO, 512, shared, replace(READY, node_huge_pages={0: 255})).flags & FLAGS["HUGE_PAGES"]


def test_memory_is_not_bound_to_a_node_that_lacks_it_unless_its_large_pages_are_there() -> None:
    short = replace(READY, free_mib={0: 256, 1: 255})
    assert features(TWO, 512, PINS, short).node_masks == (1, 2)
    found = features(TWO, 512, PINS, replace(short, huge_pages=0))
    assert found.node_masks == (1, 0)
    assert "not bound to host node(s) 1: each guest node needs 256 MiB" in found.warnings[1]


def test_memory_the_host_does_not_have_is_not_taken_at_once() -> None:
    short = replace(READY, huge_pages=0, free_mib={0: 300, 1: 211})
    found = features(TWO, 512, PINS, short)
    assert found.flags == ALL & ~FLAGS["POPULATE"]
    assert "it is 512 MiB, and the host has 511 MiB free" in found.warnings[-1]
    assert features(TWO, 512, PINS, replace(short, free_mib={0: 300, 1: 212})).flags == ALL
    assert features(TWO, 512, PINS, replace(short, free_mib={})).flags == ALL


def test_memory_is_not_bound_to_a_node_the_process_may_not_use() -> None:
    found = features(TWO, 512, PINS, replace(READY, memory_nodes=0b01))
    assert found.node_masks == (1, 0)
    assert "memory of guest node 1 is not bound" in found.warnings[0] and "host node(s) 1" in found.warnings[0]
    assert features(TWO, 512, PINS, replace(READY, memory_nodes=None)).node_masks == (1, 2)


def test_a_busy_host_and_a_poor_clock_are_told() -> None:
    found = features(TWO, 512, PINS, replace(READY, running=2, clocksource="kvm-clock"))
    assert "2 other threads want to run" in found.warnings[0] and "kvm-clock, not tsc" in found.warnings[1]
    assert features(TWO, 512, PINS, replace(READY, running=1)).warnings == ()


def fake_host(root: Path) -> Path:
    files = {
        "proc/self/status": "Name:\tx\nCapEff:\t0000000000800000\nMems_allowed:\t00000000,00000003\n",
        "proc/stat": "cpu  1 2\nprocs_running 3\nprocs_blocked 0\n",
        "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "10\n",
        "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages": "4\n",
        "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages": "7\n",
        "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:  9 kB\nNode 0 MemFree:   2048 kB\n"
        "Node 0 Active(file): 1024 kB\nNode 0 Inactive(file):  1024 kB\nNode 0 Active(anon): 4096 kB\n",
        "sys/devices/system/node/node1/cpulist": "\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        "sys/devices/system/cpu/cpu3/topology/physical_package_id": "1\n",
        "sys/devices/system/cpu/cpu3/topology/core_id": "5\n",
        "sys/devices/system/cpu/cpu4/topology/physical_package_id": "1\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_hosts_files_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    found = read_state(fake_host(tmp_path))
    assert found == HostState(
        rt_priority=99, huge_pages=6, node_huge_pages={0: 7, 1: 0}, free_mib={0: 4, 1: 0}, memory_nodes=3, running=2,
        clocksource="tsc",
    )  # fmt: skip
    assert read_cores((3, 4, 5), tmp_path) == {3: (1, 0, 5)}


def test_a_host_without_any_of_the_files_has_nothing(tmp_path: Path) -> None:
    found = read_state(tmp_path)
    assert replace(found, rt_priority=0) == HostState()
    assert read_cores((0,), tmp_path) == {}


def test_this_host_is_planned_for_as_it_is() -> None:
    here = read_topology()
    if len(here.cpus) < 2:
        pytest.fail("performance mode cannot be planned on a host of one CPU")
    found = prepare_performance(Topology.parse("1n1l1c1t"), 512, here, whole(here), here.cpus)
    assert found.pin[0] in here.cpus and found.service_cpu in here.cpus and found.service_cpu != found.pin[0]
    assert found.flags & ALL == ALL

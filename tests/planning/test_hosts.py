"""What a plan asks of the hosts that its cells run on."""

from __future__ import annotations

from ktstr.config.topology import Topology
from ktstr.host.cpu_topology import HostTopology, Llc
from ktstr.host.identity import host_class
from ktstr.planning.capacity import Capacity, Wanted
from ktstr.planning.hosts import RunHost, all_cpus, auto_accel, class_for, most_cpus, why_nowhere
from ktstr.vm.probe_kvm import Kvm

KVM, NO_KVM = Kvm(True, "runs guests"), Kvm(False, "no /dev/kvm")
BIG, SMALL = ("GenuineIntel", "big"), ("AuthenticAMD", "small")


def host(name: str, cpus: int = 4, kvm: Kvm = NO_KVM, of: tuple[str, ...] = BIG, memory_mib: int = 8000) -> RunHost:
    topology = HostTopology((Llc(0, tuple(range(cpus)), 0),), {}, {})
    return RunHost(name, of, Capacity(cpus, memory_mib, topology, frozenset(range(cpus)), 900.0, name), kvm)


def wanted(accel: str, label: str = "1n1l4c1t", memory_mib: int | None = None) -> Wanted:
    return Wanted(Topology.parse(label), accel, memory_mib)


def test_auto_is_kvm_only_where_every_worker_has_it() -> None:
    assert auto_accel([host("a", kvm=KVM), host("b", kvm=KVM)]).accel == "kvm"
    mixed = auto_accel([host("a", kvm=KVM), host("b")])
    assert (mixed.accel, mixed.reason) == ("icount", "1 of 2 workers have no KVM: no /dev/kvm")


def test_a_guest_is_ruled_out_only_where_no_worker_can_have_it() -> None:
    hosts = [host("small", memory_mib=1000), host("large", cpus=8, memory_mib=3000)]
    assert why_nowhere(wanted("icount", memory_mib=2000), hosts) is None
    assert why_nowhere(wanted("icount", memory_mib=4000), hosts) == (
        "no worker can have it: 1n1l4c1t takes 4384 MiB of memory, large lets it have 3000"
    )
    assert why_nowhere(wanted("kvm"), hosts) == "no worker can have it: large has no KVM: no /dev/kvm"


def test_counted_instructions_hold_everywhere_and_real_time_for_a_class() -> None:
    hosts = [host("a", of=BIG), host("b", of=SMALL)]
    assert class_for("t/p/k/s", wanted("icount"), hosts) == ()
    assert class_for("t/p/k/s", wanted("tcg"), ()) == host_class()
    assert class_for("t/p/k/s", wanted("tcg"), hosts) in (BIG, SMALL)


def test_points_are_spread_over_classes_by_their_cpus_and_stay_where_they_are() -> None:
    hosts = [host("a", cpus=12, of=BIG), host("b", cpus=4, of=SMALL)]
    points = [f"test{i}/tiny/k/s" for i in range(2000)]
    chosen = [class_for(point, wanted("tcg"), hosts) for point in points]
    assert 0.72 < chosen.count(BIG) / len(points) < 0.78  # 12 of 16 CPUs
    assert [class_for(point, wanted("tcg"), hosts[::-1]) for point in points] == chosen
    third = [*hosts, host("c", cpus=4, of=("third",))]
    moved = [class_for(point, wanted("tcg"), third) for point in points]
    assert all(now in (before, ("third",)) for before, now in zip(chosen, moved, strict=True))


def test_a_class_without_what_runs_the_guest_is_not_chosen() -> None:
    hosts = [host("a", cpus=64, of=BIG), host("b", of=SMALL, kvm=KVM)]
    assert {class_for(f"t{i}/p/k/s", wanted("kvm"), hosts) for i in range(50)} == {SMALL}


def test_cpus_are_those_of_the_largest_and_of_all() -> None:
    hosts = [host("a", cpus=2), host("b", cpus=6)]
    assert (most_cpus(hosts), all_cpus(hosts)) == (6, 8)

"""Whatever is declared: the agent takes what it compiles to, or it is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ktstr.config import ops
from ktstr.config.model import Backdrop, Builtin, PayloadDecl, SchedulerDecl, Step, TestDecl
from ktstr.config.scenario import Affinity, Cgroup, Cpuset, Deadline, Hold, MemPolicy, Work
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios.compile import Programs, compile_test
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Scope, flat
from ktstr.scenarios.timeline import timeline

WHERE = "ktstr.yaml:1:1 tests.t"
NAMES = ("a", "b", "d", "c/z", "c/z", "c/y", "a/x")
TOPOLOGIES = [Topology.parse(label) for label in ("1n1l2c1t", "1n2l2c1t", "2n2l2c1t", "2n2l2c1t", "2n4l2c2t")]
PAYLOADS = {name: PayloadDecl(name, Path(f"/x/{name}"), where="ktstr.yaml:9:1") for name in ("p", "q")}
EEVDF = SchedulerDecl("eevdf", Builtin("eevdf"))

cpusets = st.one_of(
    st.builds(Cpuset, st.just("llc"), st.sampled_from([(0,), (0,), (1,)]), st.just(f"{WHERE}.cpuset")),
    st.builds(Cpuset, st.just("numa"), st.sampled_from([(0,), (0,), (1,)]), st.just(f"{WHERE}.cpuset")),
    st.builds(Cpuset, st.just("range"), st.sampled_from([(0.0, 0.5), (0.5, 1.0), (0.0, 1.0)]), st.just(WHERE)),
    st.builds(
        Cpuset,
        st.just("exact"),
        st.sets(st.integers(0, 3), min_size=1, max_size=3).map(lambda cpus: tuple(sorted(cpus))),
        st.just(f"{WHERE}.cpuset"),
    ),
)
affinities = st.one_of(
    st.builds(Affinity, st.sampled_from(["random", "llc_aligned", "single", "all"]), st.just(()), st.just(WHERE)),
    st.builds(Affinity, st.just("cpuset"), st.tuples(cpusets), st.just(WHERE)),
    st.builds(Affinity, st.just("each"), st.lists(cpusets, min_size=1, max_size=2).map(tuple), st.just(WHERE)),
)
policies = st.one_of(
    st.just(MemPolicy("local", where=WHERE)),
    st.builds(
        MemPolicy,
        st.sampled_from(["bind", "interleave", "preferred_many"]),
        st.sampled_from([(0,), (1,), (0, 1)]),
        st.sampled_from([(), ("static_nodes",), ("relative_nodes",)]),
        st.just(WHERE),
    ),
)


@st.composite
def works(draw: st.DrawFn) -> Work:
    name = draw(st.sampled_from(["SpinWait", "SpinWait", "PipeIo", "Bursty", "Custom"]))
    policy = draw(st.sampled_from(["normal", "normal", "normal", "fifo", "fifo", "ext", "ext", "deadline"]))
    more: dict[str, Any] = {"affinity": draw(st.none() | affinities)}
    if name == "Custom":
        policy = "normal" if policy == "deadline" else policy
        more["payload"] = draw(st.sampled_from(sorted(PAYLOADS)))
    else:
        more["mem_policy"] = draw(st.none() | st.none() | policies)
        more["threads"] = draw(st.booleans())
    if policy == "deadline":
        more["deadline"] = Deadline(1_000_000, 5_000_000, 10_000_000)
    count = 2 * draw(st.integers(1, 2))
    return Work(name, count, (), policy, 3 if policy == "fifo" else 0, where=WHERE, **more)


controls = st.lists(
    st.sampled_from(
        [("cpu.max", "25000 100000"), ("cpu.weight", "7"), ("cpu.idle", "1"), ("memory.max", "max"),
         ("cpuset.cpus.partition", "member"), ("io.weight", "default 7"), ("pids.max", "9")]
    ),
    max_size=2,
).map(tuple)  # fmt: skip


@st.composite
def cgroups(draw: st.DrawFn, populated: bool = True) -> Cgroup:
    return Cgroup(
        draw(st.sampled_from(NAMES)),
        tuple(draw(st.lists(works(), max_size=2))) if populated else (),
        draw(cpusets) if draw(st.integers(0, 3)) == 0 else None,
        None,
        draw(st.sampled_from([None, None, None, (0,)])),
        draw(controls),
        WHERE,
    )


payloads = st.sampled_from(sorted(PAYLOADS))


def runs(names: st.SearchStrategy[str]) -> st.SearchStrategy[ops.RunPayload]:
    return st.builds(
        ops.RunPayload, payloads, st.none() | names, st.sampled_from([None, ("-x",)]), where=st.just(WHERE)
    )


def any_op(known: tuple[str, ...]) -> st.SearchStrategy[ops.Op]:
    """An op on cgroups, most of which are there."""
    names = st.sampled_from((*known * 4, NAMES[0]))
    here = st.just(WHERE)
    return st.one_of(
        st.builds(ops.AddCgroup, cgroups(populated=False), where=here),
        st.builds(ops.RemoveCgroup, names, where=here),
        st.builds(ops.SetCpuset, names, cpusets, where=here),
        st.builds(ops.ClearCpuset, names, where=here),
        st.builds(ops.SwapCpusets, names, names, where=here),
        st.builds(ops.SetControls, names, controls, where=here),
        st.builds(ops.Freeze, names, st.booleans(), where=here),
        st.builds(ops.Spawn, st.none() | names, works(), where=here),
        st.builds(ops.StopWorkers, names, where=here),
        st.builds(ops.SetAffinity, names, affinities, where=here),
        st.builds(ops.MoveTasks, names, names, where=here),
        st.builds(ops.Hotplug, cpusets, st.booleans(), where=here),
        runs(names),
        st.builds(ops.WaitPayload, payloads, st.none() | names, where=here),
        st.builds(ops.KillPayload, payloads, st.none() | names, where=here),
    )


holds = st.one_of(
    st.builds(Hold, st.just("fraction"), st.sampled_from([0.25, 0.5])),
    st.builds(Hold, st.just("fixed"), ns=st.just(10_000_000)),
    st.builds(Hold, st.just("loop"), ns=st.just(1_000_000)),
)
some_cgroups = st.lists(cgroups(), min_size=1, max_size=2, unique_by=lambda cgroup: cgroup.name).map(tuple)


@st.composite
def declarations(draw: st.DrawFn) -> TestDecl:
    """Mostly of steps. What an op names is mostly there."""
    offline = draw(st.sampled_from([None, None, None, Cpuset("exact", (1,), f"{WHERE}.offline")]))
    common: dict[str, Any] = {"offline": offline, "where": "ktstr.yaml:1:1", "duration_ns": 1_000_000_000}
    made = draw(some_cgroups)
    if draw(st.integers(0, 4)) == 0:
        some = st.lists(runs(st.sampled_from(NAMES)), max_size=1).map(tuple)
        return TestDecl("t", made, payloads=draw(some), **common)
    known = tuple(cgroup.name for cgroup in made)
    backdrop = Backdrop(made, draw(st.lists(any_op(known), max_size=1).map(tuple)))
    steps = []
    for _ in range(draw(st.integers(1, 2))):
        fresh = tuple(cgroup for cgroup in draw(some_cgroups) if cgroup.name not in known)
        hold = draw(holds)
        usable = (*known, *(cgroup.name for cgroup in fresh)) if hold.kind == "loop" else known
        does = draw(st.lists(any_op(usable), min_size=1, max_size=3).map(tuple))
        steps.append(Step(fresh, does, (), hold, "", WHERE))
    return TestDecl("t", (), steps=tuple(steps), backdrop=backdrop, settle_ns=draw(st.sampled_from([0, 99])), **common)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(declarations(), st.sampled_from(TOPOLOGIES), st.integers(0, 3))
def test_the_agent_takes_it_or_it_is_refused_with_its_place(test: TestDecl, topology: Topology, seed: int) -> None:
    try:
        made = compile_test(test, topology, EEVDF, seed, Programs(payloads=PAYLOADS))
    except InputError as err:
        assert str(err).startswith("ktstr.yaml:"), str(err)
        event("refused")
        return
    event("taken")
    encode(made.program)
    every = list(flat(made.program.ops))
    assert sum(isinstance(op, Scope) and op.step for op in every) == len(test.steps)
    assert len(made.works) == len(made.program.works)
    assert len(timeline(made)) == len(every)
    for work in made.program.works:
        for cpus in (work.affinity, *(worker.affinity for worker in work.workers)):
            assert cpus is None or set(cpus) <= set(range(topology.cpus))
    for span in made.spans:
        assert [type(every[place]).__name__ for place in (span.begin_op, span.end_op)] == ["ReadCgroup"] * 2

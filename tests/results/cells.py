"""Cells for tests of what is written about them."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from ktstr.checks.judge import Expected, judge
from ktstr.checks.model import WorkGroup
from ktstr.checks.thresholds import merge
from ktstr.record.cell import CellRecord
from ktstr.record.guest import Migration, SchedEvent, Stimulus, VcpuReport
from ktstr.record.host import Host
from ktstr.record.sidecar import Sidecar
from ktstr.results.names import CellIdentity
from ktstr.results.sidecar import build, dump
from tests.checks.reports import MS, S, heard, record, worker

IDENTITY = CellIdentity(
    test="steady", preset="tiny", topology="1n2l2c1t", vcpus=4, scheduler="scx_ktstr", accel="icount", seed=7,
    work_type="PipeIo", cpu_budget=1, sysctls=("sysctl.kernel.x=1",), kargs=("nosmt",), project_commit="abc1234",
    resolve_source="auto_built",
    perturbations={"generator": "splitmix64/1", "seed": 7, "start_offsets_ns": [5, 0], "spawn_order": [0]},
)  # fmt: skip
WORKS = (WorkGroup(0, "cg_0", "PipeIo", 2, (0, 1)),)


def cell(**changes: Any) -> CellRecord:
    """A full record: a scheduler's life, two workers with samples and migrations, stimuli, vCPU times."""
    workers = (
        worker(0, wake_latencies_ns=(1000, 2000), wake_sample_total=2, migrations=(Migration(5, 0, 1),)),
        worker(1, wake_latencies_ns=(3000,), wake_sample_total=9),
    )
    guest = heard(
        kernel_release="7.2.0-cloud",
        sched_events=(
            SchedEvent(1, "started", 0, ""),
            SchedEvent(2, "attached", 0, ""),
            SchedEvent(9, "detached", 0, ""),
        ),
        workers=workers,
        vcpus=(VcpuReport(0, S, 5 * MS, 100), VcpuReport(1, S, 6 * MS, 101)),
        stimuli=(
            Stimulus(0, "AddCgroup", "cg_0", 0),
            Stimulus(1 * MS, "Release", "", 0),
            Stimulus(2 * S, "StopWorkers", "", 99),
        ),
        ended=True,
        end_ns=3 * S,
    )
    base = replace(record(guest), host=Host(arch="x86_64", online_cpus=2))
    return replace(base, **changes)


def sidecar(identity: CellIdentity = IDENTITY, **changes: Any) -> Sidecar:
    """The sidecar of ``cell``, judged by the default checks; ``changes`` are to the finished sidecar."""
    found = cell()
    whole = build(identity, found, judge(found, merge({}, {}), Expected(WORKS, "scx_ktstr", identity.accel)))
    return replace(whole, **changes)


def document(whole: Sidecar) -> dict[str, Any]:
    """The sidecar as whoever reads its file has it."""
    loaded: dict[str, Any] = json.loads(dump(whole))
    return loaded

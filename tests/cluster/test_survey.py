"""What a scheduler has to be, and that a cluster is to have workers."""

from __future__ import annotations

from ktstr.cluster.facts import Fault, dask_version, ktstr_version
from ktstr.cluster.survey import SchedulerSeen, Surveyed, is_ready, scheduler_findings, worker_findings
from ktstr.cluster.workers import KnownWorker
from ktstr.planning.readiness import Finding

AT = "tcp://host:8786"
LOST = KnownWorker("tcp://other:1", "big", None, (Fault("answer", "does not answer\x1b[2J", "look at its log"),))


def findings(seen: Surveyed) -> dict[str, Finding]:
    return {found.name: found for found in scheduler_findings(seen)}


def test_a_cluster_without_workers_is_not_ready_and_the_command_that_starts_one_is_named() -> None:
    seen = Surveyed(SchedulerSeen(AT, dask_version(), ktstr_version()), ())
    assert findings(seen)["workers"] == Finding("workers", False, "none is there", f"dask worker {AT} on each host")
    assert not is_ready(seen)


def test_a_scheduler_without_ktstr_or_with_another_is_not_ready() -> None:
    for version, fault in ((None, "has no ktstr"), ("0.0.1+abc", None)):
        seen = Surveyed(SchedulerSeen(AT, dask_version(), version, fault), ())
        found = findings(seen)["ktstr"]
        assert found.ok is False and found.fix is not None and (fault or "0.0.1+abc") in found.detail


def test_another_dask_is_told_with_its_fix_and_is_no_failure() -> None:
    found = findings(Surveyed(SchedulerSeen(AT, "2020.1.0", ktstr_version()), ()))["dask"]
    assert (found.ok, found.detail) == (None, f"2020.1.0, the asker's is {dask_version()}")
    assert found.fix == f"pip install distributed=={dask_version()} there, and start it anew"


def test_a_worker_that_nobody_knows_has_its_faults_alone_made_harmless() -> None:
    left_out = Finding("answer", False, "left out: it does not answer?[2J", "look at its log")
    assert worker_findings(LOST) == (left_out,)
    assert not is_ready(Surveyed(SchedulerSeen(AT, dask_version(), ktstr_version()), (LOST,)))

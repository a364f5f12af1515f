"""What came of the seeds of a plan, as ``doit explore`` tells it. Imports scipy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ktstr.cells.goals import sidecar_of
from ktstr.cells.minimise import Found
from ktstr.checks.thresholds import merge
from ktstr.config.model import Builtin
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan, Point
from ktstr.record.exploration import Explored, FailureRate, Minimised, Ranking, WorstSeed
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import Sidecar
from ktstr.results.ledger import CellOutcome
from ktstr.stats.explore.ranking import SeedRun, rank_by, worst_first
from ktstr.stats.explore.spread import failure_rate, spreads
from ktstr.stats.frames import run_metrics


@dataclass(frozen=True)
class Asked:
    """How it is told: the ``worst`` so many, by ``metric`` unless that is None. ``stopped``: a failure ended the run.
    ``reproduce``: the command that runs a cell."""

    worst: int
    metric: str | None
    stopped: bool
    reproduce: Callable[[CellPlan], str]


@dataclass(frozen=True)
class Seeds:
    """The cells of one test, topology, kernel and scheduler, and what came of each, in the order of their seeds."""

    cells: tuple[CellPlan, ...]
    outcomes: tuple[CellOutcome, ...]

    @property
    def point(self) -> Point:
        return self.cells[0].point

    @property
    def name(self) -> str:
        """Without the seed."""
        return self.cells[0].name.rpartition("-s")[0]

    @property
    def first_failure(self) -> tuple[CellPlan, CellOutcome] | None:
        """Of the lowest seed."""
        failed = [(c, o) for c, o in zip(self.cells, self.outcomes, strict=True) if o.verdict == Outcome.FAIL]
        return min(failed, key=lambda pair: pair[0].key.seed, default=None)


def by_scenario(plan: Plan, outcomes: Mapping[str, CellOutcome]) -> Iterator[Seeds]:
    """The plan's scenarios, each with its seeds; ``outcomes`` by the names of the cells, of all of them."""
    found: dict[tuple[str, ...], list[CellPlan]] = {}
    for cell in plan.cells:
        key = cell.key
        found.setdefault((key.test, key.preset, key.kernel, key.scheduler), []).append(cell)
    for cells in found.values():
        yield Seeds(tuple(cells), tuple(outcomes[cell.name] for cell in cells))


def explored(seeds: Seeds, asked: Asked, minimised: Minimised | None) -> Explored:
    """What the seeds of one scenario come to."""
    runs, digests = [], set()
    for cell, outcome in zip(seeds.cells, seeds.outcomes, strict=True):
        sidecar = sidecar_of(outcome)
        values = {} if sidecar is None else run_metrics(sidecar)
        runs.append(SeedRun(cell.key.seed, outcome.verdict, outcome.reasons, values))
        if sidecar is not None:
            digests.add(result_digest(sidecar))
    point = seeds.point
    limits = merge(point.scheduler.checks, point.test.checks, release=point.release)
    ranking = rank_by(runs, limits, asked.metric, sched_ext=not isinstance(point.scheduler.kind, Builtin))
    verdicts = [run.verdict for run in runs]
    return Explored(
        name=seeds.name,
        seeds=len(runs),
        counts={outcome.value: count for outcome in Outcome if (count := verdicts.count(outcome))},
        distinct=len(digests),
        measured=sum(bool(run.values) for run in runs),
        failure_rate=None if asked.stopped else _rate(runs),
        spreads=spreads([run.values for run in runs]),
        ranking=ranking,
        worst=tuple(_worst(seeds, runs, ranking, asked)),
        minimised=minimised,
        notes=tuple(_notes(seeds, runs, asked)),
    )


def _rate(runs: Sequence[SeedRun]) -> FailureRate | None:
    """Of the seeds that are samples: 0 perturbs nothing."""
    verdicts = [run.verdict for run in runs if run.seed]
    failed = verdicts.count(Outcome.FAIL)
    return failure_rate(failed, failed + verdicts.count(Outcome.PASS))


def result_digest(sidecar: Sidecar) -> bytes:
    """The same for runs in which the guest did the same to the nanosecond, whatever the seed is called."""
    did = (sidecar.workers, sidecar.vcpu_times, sidecar.stimulus_events, sidecar.sched_events)
    return hashlib.sha256(msgspec.json.encode(did)).digest()


def _worst(seeds: Seeds, runs: Sequence[SeedRun], ranking: Ranking | None, asked: Asked) -> Iterator[WorstSeed]:
    cells = {cell.key.seed: cell for cell in seeds.cells}
    for run in worst_first(runs, ranking)[: asked.worst]:
        yield WorstSeed(
            seed=run.seed,
            verdict=run.verdict,
            value=None if ranking is None else run.values.get(ranking.metric),
            reasons=run.reasons,
            reproduce=asked.reproduce(cells[run.seed]),
        )


def _notes(seeds: Seeds, runs: Sequence[SeedRun], asked: Asked) -> Iterator[str]:
    if asked.metric is not None and not any(asked.metric in run.values for run in runs):
        yield f"metric={asked.metric}: no seed measured it"
    errors = [run for run in runs if run.verdict == Outcome.ERROR]
    if errors:
        yield f"{len(errors)} in error, the first is seed {errors[0].seed}: {'; '.join(errors[0].reasons)}"
    if seeds.point.accel != "icount":
        yield f"accel={seeds.point.accel}: a seed run again is another sample; only icount repeats it"


def as_told(seed: int, found: Found, words: Sequence[str], reproduce: str) -> Minimised:
    """What minimising came to, as it is told."""
    return Minimised(
        seed=seed,
        result=found.result,
        changes=found.changes,
        kept=found.kept,
        words=tuple(words),
        reasons=() if found.outcome is None else found.outcome.reasons,
        runs=found.runs,
        reproduce=reproduce,
    )

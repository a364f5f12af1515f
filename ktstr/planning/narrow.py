"""What of a selection is run here: without what the user or this host rules out, and within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ktstr.config.model import CellKey, Config
from ktstr.config.select import Expansion, Skip
from ktstr.errors import InputError
from ktstr.planning.capacity import Wanted, shortage, this_host
from ktstr.planning.hosts import all_cpus, why_nowhere
from ktstr.planning.request import Request
from ktstr.results.judged import Row
from ktstr.results.last import failed_names

if TYPE_CHECKING:
    from ktstr.planning.budget import Candidate
    from ktstr.planning.estimate import Estimates

NO_SKIP = "no_skip=1 tries it"
NO_PERFORMANCE = "asks for performance mode; no_perf_mode=1 is given"


def without_performance(request: Request, config: Config, expansion: Expansion) -> Expansion:
    """With ``no_perf_mode=1`` the tests that ask for performance mode are skipped, whatever runs them."""
    if not request.options.running.no_perf_mode:
        return expansion
    asking = (key for key in expansion.cells if config.tests[key.test].performance_mode)
    return _without(expansion, dict.fromkeys(asking, NO_PERFORMANCE))


def without_oversized(request: Request, config: Config, expansion: Expansion, accel: str) -> Expansion:
    """Without the cells that this host, or each worker of a cluster, is too small for, unless ``no_skip=1`` is
    given."""
    running = request.options.running
    if running.no_skip or not expansion.cells:
        return expansion
    host = this_host(running.timeout)
    known: dict[Wanted, str | None] = {}
    reasons: dict[CellKey, str] = {}
    for key in expansion.cells:
        test = config.tests[key.test]
        wanted = Wanted(config.presets[key.preset], accel, test.memory_mib, test.performance_mode)
        if wanted not in known:
            known[wanted] = why_nowhere(wanted, request.hosts) if request.hosts else shortage(wanted, host)
        why = known[wanted]
        if why is not None:
            reasons[key] = f"{why}; {NO_SKIP}"
    return _without(expansion, reasons, host=True)


def _without(expansion: Expansion, reasons: Mapping[CellKey, str], *, host: bool = False) -> Expansion:
    if not reasons:
        return expansion
    cells = tuple(key for key in expansion.cells if key not in reasons)
    skips = (Skip(key, reason, host) for key, reason in reasons.items())
    return Expansion(cells, (*expansion.skips, *skips))


def within_budget(
    request: Request, config: Config, rows: Mapping[str, Row], cells: Mapping[str, CellKey]
) -> tuple[CellKey, ...]:
    """Those of the cells, by name, that ``budget_secs=`` has time for; all without one, or where cells are named. With
    ``failed=1`` those that did not pass are chosen from.

    Raises InputError for a budget that no cell fits into, unless they are those of a shard.
    """
    limit = request.narrowing.budget_s
    if limit is None or request.narrowing.cells:
        return tuple(cells.values())
    from ktstr.planning.budget import choose
    from ktstr.planning.estimate import Estimates

    if request.narrowing.failed:
        failed = failed_names(request.project.state)
        cells = {name: key for name, key in cells.items() if name in failed}
    if not cells:
        return ()
    estimates = Estimates(rows, all_cpus(request.hosts) if request.hosts else request.tokens.total[0])
    candidates = [_candidate(name, key, config, estimates) for name, key in cells.items()]
    made = choose(candidates, limit)
    if not made.chosen and request.narrowing.shard is None:
        least = min(one.seconds + one.boot_seconds for one in candidates)
        raise InputError(
            f"budget_secs={limit:g}: the shortest of {len(candidates)} cells is expected to take {least:.1f} s",
            fix=f"budget_secs={least + 1:.0f} or more",
        )
    request.progress.step(made.line)
    keys = list(cells.values())
    return tuple(keys[index] for index in made.chosen)


def _candidate(name: str, key: CellKey, config: Config, estimates: Estimates) -> Candidate:
    """What a cell covers, and its share of the host: counted instructions take one of the CPUs that cells are run on,
    a thread per vCPU as many as there are."""
    from ktstr.planning.budget import Candidate
    from ktstr.planning.coverage import features_of

    test, topology = config.tests[key.test], config.presets[key.preset]
    accel = name.rpartition("/")[2].rpartition("-s")[0]
    share = 1 / estimates.host_cpus if accel == "icount" else min(1.0, topology.cpus / estimates.host_cpus)
    boots = not test.performance_mode
    return Candidate(
        features=features_of(key, test, topology),
        seconds=estimates.cell(name, accel, key.preset, topology, test) * share,
        machine=f"{key.kernel}/{key.preset}/{key.scheduler}/{test.memory_mib}" if boots else name,
        boot_seconds=estimates.boot(accel, topology) * share,
    )

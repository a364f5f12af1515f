"""What ``doit explore`` found, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ktstr.columns import printable, prose, table
from ktstr.record.exploration import Exploration, Explored, FailureRate, Minimised, Ranking, Spread, WorstSeed
from ktstr.record.metrics import METRICS
from ktstr.record.outcome import Outcome

_WIDTH = 100
_WORDS = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.ERROR: "in error"}


def render(found: Exploration, *, all_metrics: bool) -> str:
    """The whole report, ending in a newline."""
    lines: list[str] = []
    for scenario in found.scenarios:
        lines += [*([""] if lines else []), *_scenario(scenario, all_metrics=all_metrics)]
    if found.stopped:
        lines += ["", "stopped at a failure (until=fail): no rate is told, and not all seeds were run"]
    if found.interrupted:
        lines += ["", "INTERRUPTED: the report is partial; finished cells are kept and will not run again"]
    return "\n".join(lines) + "\n"


def _scenario(found: Explored, *, all_metrics: bool) -> Iterator[str]:
    yield printable(found.name)
    yield f"{found.seeds} seeds: {_counts(found.counts)}; {found.distinct} different results of {found.measured}"
    if found.failure_rate is not None:
        yield from prose(_rate(found.failure_rate), "")
    for note in found.notes:
        yield from prose(f"note: {printable(note)}", "")
    if found.spreads:
        yield ""
        yield from _spreads(found.spreads, all_metrics=all_metrics)
    if found.worst:
        yield from ("", _heading(found.ranking))
        for worst in found.worst:
            yield from _worst(worst, found.ranking)
    if found.minimised is not None:
        yield ""
        yield from _minimised(found.minimised)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {_WORDS.get(Outcome(verdict), verdict)}" for verdict, count in counts.items()) or "none"


def _rate(rate: FailureRate) -> str:
    sure = f"{100 * rate.confidence:g} % sure"
    if not rate.failed:
        return f"none of {rate.judged} fails: of all seeds at most {_percent(rate.high)} do ({sure})"
    share = _percent(rate.failed / rate.judged)
    return f"{share} of {rate.judged} fail: of all seeds {_percent(rate.low)} to {_percent(rate.high)} do ({sure})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _spreads(spreads: Sequence[Spread], *, all_metrics: bool) -> list[str]:
    """Of metrics that are no mere counts and that differ; all with ``all_metrics``."""
    shown = [one for one in spreads if all_metrics or (one.min != one.max and _is_told(one.metric))]
    most = max(one.seeds for one in spreads)
    rows = [_row(one, most) for one in shown]
    header = ("METRIC", "MIN", "MEDIAN", "P90", "P99", "MAX", "SPREAD")
    lines = table(header, rows, frozenset(range(1, len(header))), _WIDTH) if rows else []
    hidden = len(spreads) - len(shown)
    return [*lines, f"{hidden} more metrics: verbose=1"] if hidden else lines


def _is_told(metric: str) -> bool:
    return metric not in METRICS or METRICS[metric].polarity != "Informational"


def _row(one: Spread, most: int) -> tuple[str, ...]:
    unit = f" ({one.unit})" if one.unit else ""
    some = "" if one.seeds == most else f", {one.seeds} seeds"
    spread = "-" if one.spread_pct is None else f"{number(one.spread_pct)} %"
    return (
        printable(one.metric) + unit + some, number(one.min), number(one.median), number(one.p90), number(one.p99),
        number(one.max), spread,
    )  # fmt: skip


def number(value: float) -> str:
    """Four significant digits; large numbers whole rather than with an exponent."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"


def _heading(ranking: Ranking | None) -> str:
    if ranking is None:
        return "worst seeds:"
    if ranking.check is None or ranking.limit is None:
        return f"worst seeds, by {printable(ranking.metric)}:"
    unit = f" {ranking.unit}" if ranking.unit else ""
    return (
        f"worst seeds, by {ranking.metric}, which comes nearest to a limit ({ranking.check}: {ranking.limit:g}{unit}):"
    )


def _worst(worst: WorstSeed, ranking: Ranking | None) -> Iterator[str]:
    unit = f" {ranking.unit}" if ranking is not None and ranking.unit else ""
    value = "-" if worst.value is None else f"{number(worst.value)}{unit}"
    yield f"  seed {worst.seed:<6} {worst.verdict.upper():<13} {value}"
    for reason in worst.reasons[:1]:
        yield from prose(printable(reason), "    ")
    yield f"    {worst.reproduce}"


def _minimised(found: Minimised) -> Iterator[str]:
    runs = f"{found.runs} run{'s' if found.runs != 1 else ''}"
    of = f"{len(found.kept)} of its {found.changes} changes"
    told = {
        "none_needed": f"with none of its {found.changes} changes too: it needs no seed ({runs})",
        "all": f"only with all of its {found.changes} changes ({runs}):",
        "minimal": f"with {of}, and without any one of these it does not ({runs}):",
        "cut_short": f"with {of}; fewer may do, it was cut short after {runs}:",
    }
    yield from prose(f"seed {found.seed} fails {told[found.result]}", "")
    for words in found.words:
        yield from prose(printable(words), "  - ")
    for reason in found.reasons[:1]:
        yield from prose(f"then {printable(reason)}", "  ")
    yield f"    {found.reproduce}"

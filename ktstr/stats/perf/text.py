"""``perf_delta``'s result as text: a table of what moved, what could not be judged, and one line that sums it up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ktstr.columns import printable, prose
from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.stats.inference.verdicts import Rule, Word
from ktstr.stats.perf.result import Divergence, Excluded, Finding, PerfDelta, Unevaluated, phase_name

QUIET = frozenset({Word.SAME, Word.UNDECIDED, Word.NOISY})  # shown only when all are
MORE_RUNS = 20  # a side that somebody may be asked for
SHOWN_CELLS = 5
_WELCH_WORDS: dict[Word, str] = {
    Word.REGRESSED: "REGRESSION", Word.IMPROVED: "improvement", Word.NOISY: "NOISY (<2 runs)",
    Word.INFORMATIONAL: "informational", Word.SAME: "stable", Word.UNDECIDED: "undecided",
}  # fmt: skip


def number(value: float | None) -> str:
    """Five significant digits, ``-`` for what was not measured."""
    return "-" if value is None else _plain(value, 5)


def _plain(value: float, digits: int, sign: str = "") -> str:
    """Significant digits; large numbers whole rather than with an exponent."""
    if 10**digits <= abs(value) < 1e12:
        return f"{value:{sign}.0f}"
    return f"{value:{sign}.{digits}g}"


def shift_text(finding: Finding) -> str:
    """``+12 (+3.4%) [+8, +15]``: the shift, in percent of A, and its interval; ``-`` without one."""
    verdict = finding.verdict
    if verdict.shift is None:
        return "-"
    percent = "" if verdict.shift_pct is None else f" ({verdict.shift_pct:+.1f}%)"
    interval = ""
    if verdict.ci_low is not None and verdict.ci_high is not None:
        interval = f" [{_plain(verdict.ci_low, 4, '+')}, {_plain(verdict.ci_high, 4, '+')}]"
    return f"{_plain(verdict.shift, 4, '+')}{percent}{interval}"


def verdict_text(finding: Finding, rule: Rule | None = Rule.RANKS) -> str:
    """The verdict in words, with what it needs to be sure and what it was judged by."""
    verdict = finding.verdict
    words = _WELCH_WORDS[verdict.word] if rule is Rule.WELCH else verdict.word.value
    if rule is not Rule.WELCH and verdict.word is Word.REGRESSED:
        words = words.upper()
    if verdict.word is Word.UNDECIDED and verdict.more is not None:
        words += f", about {verdict.more} more"
    marks = ["noisy spread"] if verdict.high_spread and verdict.word is not Word.NOISY else []
    marks += ["declared gate"] if finding.gate is not None else []
    marks += ["must_fail"] if finding.must_fail else []
    return words + (f" ({', '.join(marks)})" if marks else "")


def gate_text(gate: PerfDeltaAssertion) -> str:
    """What an assertion declares beside its metric: ``higher is better, at most 5 %``, or ``registry defaults``."""
    parts = []
    if gate.direction is not None:
        parts.append("higher is better" if gate.direction == "HigherBetter" else "lower is better")
    if gate.max_regression_pct is not None:
        parts.append(f"max_regression_pct {gate.max_regression_pct:g}")
    if gate.min_abs is not None:
        parts.append(f"min_abs {gate.min_abs:g}")
    return ", ".join(parts) or "registry defaults"


def visible(result: PerfDelta, *, all_metrics: bool) -> tuple[Finding, ...]:
    """The findings over whole runs that are shown: what moved and what gates, or with ``all_metrics`` every one."""
    return tuple(f for f in result.whole_run if all_metrics or _moved(f) or (f.gates and f.word is not Word.SAME))


def _moved(finding: Finding) -> bool:
    """Whether something changed. An informational metric is said to have where its interval lies beyond the floor."""
    if finding.word is not Word.INFORMATIONAL:
        return finding.word not in QUIET
    low, high, floor = finding.verdict.ci_low, finding.verdict.ci_high, finding.verdict.floor
    return low is None or high is None or floor is None or low > floor or high < -floor


def render(result: PerfDelta, *, all_metrics: bool = False, hint: str = "all_metrics=1") -> str:
    """The whole report as text, ending in a newline. ``hint``: the variable that shows what is hidden."""
    blocks = [
        _heading(result),
        _findings(result, visible(result, all_metrics=all_metrics), hint),
        _phases(result),
        _unevaluated(result.unevaluated),
        _divergences(result.divergences),
        list(_facts(result)),
        _footer(result),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _heading(result: PerfDelta) -> list[str]:
    head, baseline = printable(result.head), printable(result.baseline)
    if result.rule is Rule.WELCH:
        threshold = f"{result.noise_spread_threshold_pct:.2f}%"
        first = f"{result.title} noise_adjust={result.runs}: B vs A (advisory noisy-spread threshold {threshold})"
    else:
        first = f"{result.title}: B vs A, {_runs(result)}"
    return [first, f"  A  {baseline}  ({printable(result.chosen)})", f"  B  {head}"]


def _runs(result: PerfDelta) -> str:
    if result.runs == 1:
        return "1 run a side"
    if result.stopped_after is None or result.stopped_after == result.runs:
        return f"{result.runs} runs a side"
    return f"{result.stopped_after} runs a side, of {result.runs}: everything was decided"


def _findings(result: PerfDelta, shown: Sequence[Finding], hint: str) -> list[str]:
    if not result.whole_run and result.same_cells:
        return ["nothing that a cell is made of differs: there was nothing to run"]
    if not result.whole_run:
        return ["nothing was compared: no metric was measured on both sides"]
    if not shown:
        return [f"{_all_hidden(result)}; {hint} shows them"]
    welch = result.rule is Rule.WELCH
    a, b = printable(result.baseline), printable(result.head)
    header = (
        ("TEST / METRIC", f"A: {a}: mean [min-max] spread%", f"B: {b}: mean [min-max] spread%", "VERDICT")
        if welch
        else ("TEST / METRIC", "A MEDIAN", "B MEDIAN", "SHIFT (%) [INTERVAL]", "N", "VERDICT")
    )
    rows: list[tuple[str, ...]] = [header]
    for scenario, members in groupby(shown, lambda finding: finding.verdict.scenario):
        rows.append((printable(scenario),))
        rows += [_welch_row(finding) if welch else _row(finding) for finding in members]
    return _aligned(rows, right=frozenset({1, 2, 4}) if not welch else frozenset())


def _row(finding: Finding) -> tuple[str, ...]:
    verdict = finding.verdict
    n = str(verdict.n_a) if verdict.n_a == verdict.n_b else f"{verdict.n_a}+{verdict.n_b}"
    return (
        f"  {_metric(finding)}", number(verdict.center_a), number(verdict.center_b), shift_text(finding), n,
        verdict_text(finding),
    )  # fmt: skip


def _metric(finding: Finding) -> str:
    unit = f" ({finding.unit})" if finding.unit else ""
    return printable(finding.verdict.metric) + unit


def _welch_row(finding: Finding) -> tuple[str, ...]:
    v = finding.verdict
    a = _band(v.center_a, v.low_a, v.high_a, v.spread_a)
    b = _band(v.center_b, v.low_b, v.high_b, v.spread_b)
    return f"  {_metric(finding)}", a, b, verdict_text(finding, Rule.WELCH)


def _band(center: float | None, low: float | None, high: float | None, spread: float | None) -> str:
    """``12.0 [11.0-13.5] 20.83%``; ``-`` without a run."""
    if center is None or low is None or high is None:
        return "-"
    return f"{center:.1f} [{low:.1f}-{high:.1f}] " + ("-" if spread is None else f"{spread:.2f}%")


def _all_hidden(result: PerfDelta) -> str:
    compared = len(result.whole_run)
    counts = result.counts
    noun = "metric" if compared == 1 else "metrics"
    text = f"{compared} {noun} compared, none meaningfully changed"
    if counts[Word.UNDECIDED]:
        text += f", {counts[Word.UNDECIDED]} undecided"
    if counts[Word.NOISY]:
        text += f", {counts[Word.NOISY]} under-sampled"
    return text


def _phases(result: PerfDelta) -> list[str]:
    if not result.by_phase:
        return []
    rows: list[tuple[str, ...]] = [("PHASE", "TEST / METRIC", "A", "B", "SHIFT (%) [INTERVAL]", "VERDICT")]
    for finding in result.by_phase:
        v = finding.verdict
        rows.append(
            (
                printable(phase_name(finding.phase, finding.phase_label)),
                f"{printable(v.scenario)} {_metric(finding)}", number(v.center_a), number(v.center_b),
                shift_text(finding), verdict_text(finding, result.rule),
            )
        )  # fmt: skip
    return ["by phase (only declared gates count):", *_aligned(rows, right=frozenset({2, 3}))]


def _unevaluated(gates: Sequence[Unevaluated]) -> list[str]:
    if not gates:
        return []
    rows: list[tuple[str, ...]] = [("TEST", "METRIC", "PHASE", "DECLARED GATE", "WHY")]
    for one in gates:
        phase = "aggregate" if one.gate.phase is None else str(one.gate.phase)
        rows.append((printable(one.test), printable(one.gate.metric), phase, gate_text(one.gate), printable(one.why)))
    return ["declared gates that were not evaluated:", *_aligned(rows)]


def _divergences(found: Sequence[Divergence]) -> list[str]:
    if not found:
        return []
    lines = ["where the two sides first differ:"]
    for one in found:
        lines.append(f"  {printable(one.cell)}, {one.at_ms:.3f} ms")
        lines += [f"    A  {printable(one.a)}", f"    B  {printable(one.b)}"]
    return lines


def _facts(result: PerfDelta) -> Iterator[str]:
    if result.same_cells:
        cells = [printable(cell) for cell in result.same_cells[:SHOWN_CELLS]]
        more = f", and {len(result.same_cells) - SHOWN_CELLS} more" if len(result.same_cells) > SHOWN_CELLS else ""
        noun = "cell" if len(result.same_cells) == 1 else "cells"
        yield from prose(f"{len(result.same_cells)} {noun} with equal inputs, not run: {', '.join(cells)}{more}", "")
    for side in result.excluded:
        yield f"{side.side.upper()}: {excluded_text(side)}"
    for note in result.notes:
        yield from prose(f"note: {printable(note)}", "")


def excluded_text(side: Excluded) -> str:
    """``10 runs: 8 comparable (1 skipped, 1 failed)``."""
    left_out = {
        "skipped": side.skipped, "failed": side.failed, "inconclusive": side.inconclusive,
        "expected-failure": side.expected_failure,
    }  # fmt: skip
    why = ", ".join(f"{count} {word}" for word, count in left_out.items() if count) or "none excluded"
    return f"{side.runs} run{'s' if side.runs != 1 else ''}: {side.comparable} comparable ({why})"


def counts_text(result: PerfDelta) -> str:
    """``2 regressed, 1 improved, 40 same``; verdicts that nothing has are left out, but for these three."""
    always = {Word.REGRESSED, Word.IMPROVED, Word.SAME}
    names = {Word.SAME: "stable", Word.NOISY: "under-sampled (<2 runs)"} if result.rule is Rule.WELCH else {}
    return ", ".join(
        f"{count} {names.get(word, word.value)}" for word, count in result.counts.items() if count or word in always
    )


def _footer(result: PerfDelta) -> list[str]:
    paired = f"{result.scenarios} scenario{'s' if result.scenarios != 1 else ''} compared"
    lines = [paired, f"overall {result.overall}: {counts_text(result)}{_gates_left(result)}"]
    counts = result.counts
    moved = counts[Word.REGRESSED] + counts[Word.IMPROVED]
    if result.overall == "STABLE" and moved and result.rule is Rule.WELCH:
        lines.append("below the cutoff, likely noise")
    lines += _more(result)
    if result.rule is Rule.WELCH and counts[Word.NOISY] and not moved and not counts[Word.INFORMATIONAL]:
        lines.append("NOTE: fewer than 2 runs on a side tell nothing; ask for a larger noise_adjust=")
    for failure in result.failures:
        lines += prose(f"FAILED: {printable(failure)}", "")
    return lines


def _more(result: PerfDelta) -> list[str]:
    """How many of the undecided metrics a reasonable number of further runs would decide."""
    needed = sorted(f.verdict.more for f in result.whole_run if f.word is Word.UNDECIDED and f.verdict.more)
    within = [more for more in needed if more <= max(MORE_RUNS, result.runs)]
    if not within:
        return []
    noun = "metric" if len(within) == 1 else "metrics"
    return [f"about {within[-1]} more runs a side would decide {len(within)} {noun} more"]


def _gates_left(result: PerfDelta) -> str:
    left = len(result.unevaluated)
    return f"; {left} declared gate{'s' if left != 1 else ''} not evaluated" if left else ""


def _aligned(rows: Sequence[tuple[str, ...]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of a table, never folded; a row of one cell, a heading, does not widen its column."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(len(row[at]) for row in full) for at in range(len(full[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines

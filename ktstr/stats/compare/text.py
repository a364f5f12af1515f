"""A comparison as text. Wide lines are not folded: keys are for copying, and for grep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ktstr.columns import printable
from ktstr.record.codec import ready
from ktstr.record.host import Host
from ktstr.record.metrics import METRICS
from ktstr.stats.compare.dims import PINS
from ktstr.stats.compare.engine import Comparison
from ktstr.stats.compare.gate import Change
from ktstr.stats.compare.pairs import Group, Tally
from ktstr.stats.hosts import diff, without_heap

_VERDICTS = {
    Change.REGRESSION: ("REGRESSION", "\x1b[31m"),
    Change.IMPROVEMENT: ("improvement", "\x1b[32m"),
    Change.INFORMATIONAL: ("informational", "\x1b[34m"),
}
_RESET = "\x1b[0m"
ARROW = "\N{RIGHTWARDS ARROW}"
_LISTED = 20  # names that are spelt out in one line


def render(comparison: Comparison, *, colour: bool = False) -> str:
    """The whole report. ``colour``: verdicts in the terminal's colours. What is not printable is ``?``."""
    lines = [*_head(comparison), *_table(comparison), "", _summary(comparison), *_remarks(comparison)]
    text = "\n".join(printable(line) for line in [*lines, *_host(comparison)]) + "\n"
    return _coloured(text) if colour else text


def _coloured(text: str) -> str:
    """Every line of the table that ends in a verdict, with the verdict in its colour."""
    lines = []
    for line in text.split("\n"):
        for word, escape in _VERDICTS.values():
            if line.endswith(f"  {word}"):
                line = f"{line.removesuffix(word)}{escape}{word}{_RESET}"
        lines.append(line)
    return "\n".join(lines)


def _head(comparison: Comparison) -> Iterator[str]:
    contrast = comparison.contrast
    yield f"slicing dimensions: {', '.join(contrast.slicing_names)}"
    yield f"pairing on: {', '.join(contrast.pairing_names)}"
    if comparison.averaged:
        yield (f"averaged across {comparison.a_runs} runs ({contrast.a}) and {comparison.b_runs} runs ({contrast.b})")


def _table(comparison: Comparison) -> list[str]:
    if not comparison.findings:
        return []
    header = ("TEST", "METRIC", comparison.contrast.a, comparison.contrast.b, "DELTA", "VERDICT")
    rows = [
        (
            finding.key.label,
            finding.metric,
            f"{finding.a:.2f}",
            f"{finding.b:.2f}",
            f"{finding.delta:+.2f}{METRICS[finding.metric].display_unit}",
            _VERDICTS[finding.change][0],
        )
        for finding in comparison.findings
    ]
    return ["", *_columns([header, *rows], right=(2, 3, 4))]


def _columns(rows: Sequence[Sequence[str]], right: Iterable[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [str.rjust if at in right else str.ljust for at in range(len(widths))]
    return [
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _summary(comparison: Comparison) -> str:
    return (
        f"summary: {comparison.regressions} regressions, {comparison.improvements} improvements, "
        f"{comparison.informational} informational, {comparison.unchanged} unchanged"
    )


def _remarks(comparison: Comparison) -> Iterator[str]:
    a, b = comparison.contrast.a, comparison.contrast.b
    if not comparison.compared_pairs:
        yield "  NOTHING WAS COMPARED: no key has comparable runs on both sides"
    if comparison.excluded_pairs:
        yield (
            f"  {comparison.excluded_pairs} pair(s) excluded: a side failed, was inconclusive or skipped, "
            "or failed as expected"
        )
    yield from pass_counts(comparison.groups)
    if comparison.new_in_b:
        yield f"  {len(comparison.new_in_b)} row(s) new in '{b}' (no matching key in '{a}')"
    if comparison.removed_from_a:
        yield f"  {len(comparison.removed_from_a)} row(s) removed from '{a}' (no matching key in '{b}')"
    for found in comparison.mismatches:
        seen = " and ".join(", ".join(value or "none" for value in values) for values in (found.a, found.b))
        yield f"  {found.keys} key(s) not paired: the {PINS[found.pin]} differs ({seen})"
    yield from _coverage(comparison)
    if comparison.unregistered:
        yield f"  not compared, since the registry has no limits for them: {_listed(comparison.unregistered)}"


def _coverage(comparison: Comparison) -> Iterator[str]:
    names = {"a": comparison.contrast.a, "b": comparison.contrast.b}
    counted = Counter((found.metric, found.side) for found in comparison.coverage)
    order = list(METRICS)
    for metric, side in sorted(counted, key=lambda one: (order.index(one[0]), one[1])):
        yield f"  {metric}: measured in '{names[side]}' only, in {counted[metric, side]} pair(s)"


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest


def pass_counts(groups: Sequence[Group]) -> list[str]:
    """The block of passes by group; empty without one. Groups that would be called the same have their whole key."""
    if not groups:
        return []
    short = ["/".join((group.scenario, group.topology, group.work_type)) for group in groups]
    counted = Counter(short)
    lines = ["", "per-group pass counts (passed/total):"]
    for group, name in zip(groups, short, strict=True):
        label = name if counted[name] == 1 else group.key.label
        lines.append(f"  {label}: A={_passes(group.a)} B={_passes(group.b)}")
    return lines


def _passes(tally: Tally | None) -> str:
    if tally is None:
        return "-"
    rest = f" ({tally.skips} skip, {tally.inconclusives} inc, {tally.failures} fail)"
    return f"{tally.passes}/{tally.total}" + ("" if tally.passes == tally.total else rest)


def _host(comparison: Comparison) -> list[str]:
    """What differs between the first hosts of the sides; nothing when no run has one."""
    a, b = comparison.contrast.a, comparison.contrast.b
    first, second = _decoded(comparison.a_host), _decoded(comparison.b_host)
    if first is None and second is None:
        return []
    if first is None or second is None:
        return [f"host: captured in '{b if first is None else a}' only, delta unavailable"]
    changes = diff(first, second)
    if not changes:
        arch = f" (arch: {first.arch})" if isinstance(first.arch, str) else ""
        return [f"host: identical between '{a}' and '{b}'{arch}"]
    return [f"host delta ('{a}' {ARROW} '{b}'):", *changes.splitlines()]


def _decoded(host: str | None) -> Host | None:
    return None if host is None else without_heap(msgspec.json.decode(host, type=ready(Host)))

"""What the runqueues showed between the steps of a scenario, and what changed from one to the next.

The steps are on the guest's clock since the scenario began, the samples on the monitor's since it did. They are laid
over each other at the first sample that has CPUs after the monitor's first half second, by when the guest has booted.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ktstr.columns import printable
from ktstr.record.sidecar import StimulusEvent

SETTLED_MS = 500
MAX_DSQ_DEPTH = 10_000  # a deeper local DSQ is garbage that was read for one
# The least that is no change, by metric and unit.
IMBALANCE, DSQ_DEPTH, RATE, THROUGHPUT = 0.5, 3.0, 10.0, 0.30


@dataclass(frozen=True)
class CpuReading:
    """One runqueue at one moment: runnable tasks, depth of its local DSQ, and ``rq->clock``."""

    nr_running: int
    local_dsq_depth: int
    rq_clock: int


@dataclass(frozen=True)
class MonitorSample:
    """All runqueues at one moment, and sched_ext's counters since it was loaded; None where they were not read."""

    elapsed_ms: int
    cpus: tuple[CpuReading, ...]
    fallback: int | None = None
    keep_last: int | None = None

    @property
    def valid(self) -> bool:
        return bool(self.cpus) and all(cpu.local_dsq_depth <= MAX_DSQ_DEPTH for cpu in self.cpus)

    @property
    def imbalance(self) -> float:
        """The longest runqueue by the shortest, which counts as 1 when it is empty."""
        lengths = [cpu.nr_running for cpu in self.cpus]
        return max(lengths) / max(1, min(lengths))


@dataclass(frozen=True)
class Change:
    """What a metric did from one window to the next. ``delta`` is in its own unit."""

    metric: str
    delta: float
    worse: bool


@dataclass(frozen=True)
class Window:
    """From one step to the next. Rates are by second; None where nothing was measured. ``stuck``: how often a CPU's
    clock stood still from one sample to the next while it had something to run."""

    event: StimulusEvent
    duration_ms: int
    samples: int
    avg_imbalance: float | None
    max_imbalance: float | None
    avg_dsq_depth: float | None
    max_dsq_depth: int | None
    stuck: int
    fallback_rate: float | None
    keep_last_rate: float | None
    throughput: float | None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Context:
    """What the header says, None for what is not known. ``duration_s``: of the scenario."""

    kernel: str | None = None
    topology: str | None = None
    scheduler: str | None = None
    scenario: str | None = None
    duration_s: float | None = None


def build_timeline(events: Sequence[StimulusEvent], samples: Sequence[MonitorSample]) -> tuple[Window, ...]:
    """A window for each step, the first of which is the baseline; none without steps or without samples."""
    if not events or not samples:
        return ()
    ordered = sorted(events, key=lambda event: event.elapsed_ms)
    late = (sample for sample in samples if sample.cpus and sample.elapsed_ms > SETTLED_MS)
    offset = next(late, samples[0]).elapsed_ms - ordered[0].elapsed_ms
    starts = [event.elapsed_ms + offset for event in ordered]
    ends = [*starts[1:], max(samples[-1].elapsed_ms + 1, starts[-1])]
    windows: list[Window] = []
    for at, event in enumerate(ordered):
        inside = [s for s in samples if starts[at] <= s.elapsed_ms < ends[at] and s.valid]
        following = ordered[at + 1] if at + 1 < len(ordered) else None
        windows.append(_window(event, following, ends[at] - starts[at], inside))
    pairs = zip([None, *windows], windows, strict=False)
    return tuple(_with_changes(before, window) for before, window in pairs)


def _window(
    event: StimulusEvent, following: StimulusEvent | None, duration_ms: int, inside: Sequence[MonitorSample]
) -> Window:
    imbalances = [sample.imbalance for sample in inside]
    depths = [cpu.local_dsq_depth for sample in inside for cpu in sample.cpus]
    return Window(
        event=event,
        duration_ms=duration_ms,
        samples=len(inside),
        avg_imbalance=sum(imbalances) / len(imbalances) if imbalances else None,
        max_imbalance=max(imbalances, default=None),
        avg_dsq_depth=sum(depths) / len(depths) if depths else None,
        max_dsq_depth=max(depths, default=None),
        stuck=sum(_stuck(a, b) for a, b in itertools.pairwise(inside)),
        fallback_rate=_rate([(s.elapsed_ms, s.fallback) for s in inside if s.fallback is not None]),
        keep_last_rate=_rate([(s.elapsed_ms, s.keep_last) for s in inside if s.keep_last is not None]),
        throughput=_throughput(event, following),
    )


def _stuck(before: MonitorSample, after: MonitorSample) -> int:
    """CPUs whose clock did not move, but for those that were idle both times."""
    pairs = zip(before.cpus, after.cpus, strict=False)
    return sum(a.rq_clock == b.rq_clock and bool(a.nr_running or b.nr_running) for a, b in pairs)


def _rate(readings: Sequence[tuple[int, int]]) -> float | None:
    """Growth by second. A counter that was set back grew by nothing that is known, so by 0."""
    if len(readings) < 2 or readings[-1][0] <= readings[0][0]:
        return None
    return max(0, readings[-1][1] - readings[0][1]) * 1000 / (readings[-1][0] - readings[0][0])


def _throughput(event: StimulusEvent, following: StimulusEvent | None) -> float | None:
    """Iterations by second, where they grew."""
    if following is None or event.total_iterations is None or following.total_iterations is None:
        return None
    done, ms = following.total_iterations - event.total_iterations, following.elapsed_ms - event.elapsed_ms
    return done * 1000 / ms if done > 0 and ms > 0 else None


def _with_changes(before: Window | None, window: Window) -> Window:
    """The window, and what changed since the one before, where both have samples."""
    if before is None or not before.samples or not window.samples:
        return window
    return dataclasses.replace(window, changes=tuple(_changes(before, window)))


def _changes(a: Window, b: Window) -> Iterator[Change]:
    """Each metric that changed by more than its threshold, in the order of the report."""
    yield from _moved("imbalance", a.avg_imbalance, b.avg_imbalance, IMBALANCE)
    yield from _moved("dsq_depth", a.avg_dsq_depth, b.avg_dsq_depth, DSQ_DEPTH)
    yield from _moved("fallback", a.fallback_rate, b.fallback_rate, RATE)
    yield from _moved("keep_last", a.keep_last_rate, b.keep_last_rate, RATE)
    if a.throughput is not None and b.throughput is not None:
        delta = b.throughput - a.throughput
        if abs(delta) / a.throughput > THROUGHPUT:
            yield Change("throughput", delta, delta < 0)


def _moved(metric: str, a: float | None, b: float | None, threshold: float) -> Iterator[Change]:
    if a is not None and b is not None and abs(b - a) > threshold:
        yield Change(metric, b - a, b > a)


def to_text(windows: Sequence[Window], context: Context) -> str:
    """The header and a block for each window; empty when there is none."""
    if not windows:
        return ""
    lines = ["--- timeline ---"]
    known = {
        "kernel": context.kernel,
        "topology": context.topology,
        "scheduler": context.scheduler,
        "scenario": context.scenario,
        "duration": None if context.duration_s is None else f"{context.duration_s:.1f}s",
    }
    parts = [f"{name}: {printable(value)}" for name, value in known.items() if value is not None]
    lines += ["  ".join(parts)] if parts else []
    for at, window in enumerate(windows):
        lines += _block(at, window)
    return "\n".join(lines) + "\n"


def _block(at: int, window: Window) -> Iterator[str]:
    event = window.event
    what = printable(event.op_kind or "-")
    seen = f"{window.duration_ms}ms, {window.samples} samples"
    if at == 0:
        yield f"BASELINE (settle, {seen}):"
    else:
        yield f"Phase {at}: {printable(event.label)} {what} ({seen}):"
        detail = "" if event.detail is None else f" ({printable(event.detail)})"
        yield f"  >>> {printable(event.label)}: {what}{detail}"
    yield _metrics(window)
    if window.stuck:
        yield f"  stalls: {window.stuck}"
    for change in window.changes:
        word = "DEGRADATION" if change.worse else "IMPROVEMENT"
        yield f"  >>> {word}: {change.metric} {change.delta:+.1f}"


def _metrics(window: Window) -> str:
    """What the samples of a window say; counters that did not grow are not worth a word."""
    if not window.samples:
        return "  [no samples]"
    text = (
        f"  imbalance: avg={window.avg_imbalance:.1f} max={window.max_imbalance:.1f}"
        f" | dsq: avg={window.avg_dsq_depth:.0f} max={window.max_dsq_depth}"
    )
    if window.fallback_rate:
        text += f" | fallback: {window.fallback_rate:.0f}/s"
    if window.keep_last_rate:
        text += f" | keep_last: {window.keep_last_rate:.0f}/s"
    return text if window.throughput is None else f"{text} | throughput: {window.throughput:.0f} iter/s"

"""Numbers in, SVG out. Each drawing has a label that says what it shows; the page puts the numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ktstr.stats.report.distribution import Samples
from ktstr.stats.report.svg import Scale, drawing, element, number, ticks
from ktstr.stats.report.text import counted, figure
from ktstr.stats.report.timeline import Lane, Timeline

STRIP_WIDTH, STRIP_HEIGHT, DOT = 200.0, 18.0, 2.5
TONES = 4  # classes .tone0 to .tone3: what tells one cgroup's workers from another's


def strip(samples: Samples, scale: Scale, label: str) -> Markup:
    """Each run a dot on one line, the median a bar; dots that would hide each other are stacked. Where single runs are
    not known their range is a thicker line."""
    middle = STRIP_HEIGHT / 2
    taken: dict[int, int] = {}
    marks = [element("line", class_="rule", x1=scale.start, x2=scale.end, y1=middle, y2=middle)]
    if not samples.values:
        ends = {"x1": scale(samples.low), "x2": scale(samples.high), "y1": middle, "y2": middle}
        marks.append(element("line", class_="range", **ends))
    for sample in sorted(samples.values):
        x = scale(sample)
        level = taken.get(round(x / DOT), 0)
        taken[round(x / DOT)] = level + 1
        offset = ((level + 1) // 2) * (-1) ** level * 2.2
        y = min(max(middle + offset, DOT), STRIP_HEIGHT - DOT)
        marks.append(element("circle", class_="dot", cx=x, cy=y, r=DOT))
    at = scale(samples.median)
    marks.append(element("line", class_="median", x1=at, x2=at, y1=1, y2=STRIP_HEIGHT - 1))
    return drawing(STRIP_WIDTH, STRIP_HEIGHT, label, marks)


def interval(shift: float, low: float, high: float, scale: Scale, label: str) -> Markup:
    """A shift with its interval, against no shift. All three in the scale's unit."""
    middle, zero = STRIP_HEIGHT / 2, scale(0.0)
    marks = [
        element("line", class_="zero", x1=zero, x2=zero, y1=0, y2=STRIP_HEIGHT),
        element("line", class_="interval", x1=scale(low), x2=scale(high), y1=middle, y2=middle),
        element("circle", class_="dot", cx=scale(shift), cy=middle, r=3),
    ]
    return drawing(scale.end + scale.start, STRIP_HEIGHT, label, marks)


@dataclass(frozen=True)
class Frame:
    """Where things are in the drawing of a timeline, in pixels."""

    left: float = 92
    right: float = 64
    top: float = 26
    width: float = 960
    row: float = 5
    rows_at_most: int = 12
    between: float = 5
    between_llcs: float = 12


FRAME = Frame()


@dataclass(frozen=True)
class _Band:
    """One lane's place: its top, and how many rows of workers it has."""

    top: float
    rows: int

    def y(self, rank: int) -> float:
        return self.top + (rank % self.rows + 0.5) * FRAME.row

    @property
    def bottom(self) -> float:
        return self.top + self.rows * FRAME.row


def timeline_chart(line: Timeline, name: str) -> Markup:
    """A lane for each CPU, LLCs apart; a line for each worker in the lane of the CPU it was on."""
    time = Scale(line.start_ms, line.end_ms, FRAME.left, FRAME.width - FRAME.right)
    bands = _bands(line)
    bottom = max(band.bottom for band in bands.values())
    marks = [
        *_lanes(line, bands, time),
        *_stays(line, bands, time),
        *_gaps(line, bands, time),
        *_steps(line, time, bottom),
        *_axis(time, bottom + 16, " ms"),
    ]
    worst = max(line.workers, key=lambda row: row.gap.ms).gap
    label = (
        f"{name}: {counted(len(line.lanes), 'CPU')} over {figure(round(line.end_ms))} ms,"
        f" {counted(len(line.workers), 'worker')}, {counted(line.moved, 'migration')};"
        f" largest gap {figure(round(worst.ms, 1))} ms on CPU {worst.cpu}, worker {worst.worker}"
    )
    return drawing(FRAME.width, bottom + 24, label, marks)


def _bands(line: Timeline) -> dict[int, _Band]:
    """Lanes are as high as the number of workers; those of one LLC stand close together."""
    rows = min(max(len(line.workers), 4), FRAME.rows_at_most)
    bands: dict[int, _Band] = {}
    y, before = FRAME.top, line.lanes[0].llc
    for lane in line.lanes:
        y += FRAME.between_llcs - FRAME.between if lane.llc != before else 0
        bands[lane.cpu] = _Band(y, rows)
        y, before = bands[lane.cpu].bottom + FRAME.between, lane.llc
    return bands


def _lanes(line: Timeline, bands: dict[int, _Band], time: Scale) -> list[Markup]:
    marks = []
    for lane in line.lanes:
        band = bands[lane.cpu]
        middle = (band.top + band.bottom) / 2 + 4
        height = band.bottom - band.top
        marks.append(
            element("rect", class_="lane", x=time.start, y=band.top, width=time.end - time.start, height=height)
        )
        marks.append(element("text", f"CPU {lane.cpu}", class_="end", x=FRAME.left - 8, y=middle))
        if lane.ran_ms is not None:
            marks.append(element("text", f"{figure(round(lane.ran_ms))} ms", x=time.end + 6, y=middle))
    marks.append(element("text", "ran", class_="faint", x=time.end + 16, y=FRAME.top - 10))
    return [*marks, *_llc_names(line.lanes, bands)]


def _llc_names(lanes: Sequence[Lane], bands: dict[int, _Band]) -> list[Markup]:
    firsts: dict[int, int] = {}
    for lane in lanes:
        if lane.llc is not None:
            firsts.setdefault(lane.llc, lane.cpu)
    if len(firsts) < 2:
        return []
    return [
        element("text", f"LLC {at}", class_="faint", x=0, y=bands[cpu].top + 10)
        for at, cpu in enumerate(firsts.values())
    ]


def _stays(line: Timeline, bands: dict[int, _Band], time: Scale) -> list[Markup]:
    """All stays of one tone are one path: thousands of them stay small."""
    rank = {row.index: at for at, row in enumerate(line.workers)}
    groups = {cgroup: at % TONES for at, cgroup in enumerate(sorted({row.cgroup for row in line.workers}))}
    tone = {row.index: groups[row.cgroup] for row in line.workers}
    paths: dict[int, list[str]] = {}
    for stay in line.stays:
        if stay.cpu in bands:
            x, end, y = time(stay.start_ms), time(stay.end_ms), bands[stay.cpu].y(rank[stay.worker])
            paths.setdefault(tone[stay.worker], []).append(f"M{number(x)} {number(y)}H{number(max(end, x + 0.6))}")
    return [element("path", class_=f"stay tone{at}", d="".join(parts)) for at, parts in sorted(paths.items())]


def _gaps(line: Timeline, bands: dict[int, _Band], time: Scale) -> list[Markup]:
    """The largest gap of each worker; the largest of all has its length beside it."""
    rank = {row.index: at for at, row in enumerate(line.workers)}
    rows = [row for row in line.workers if row.gap.cpu in bands]
    worst = max(rows, key=lambda row: row.gap.ms, default=None)
    marks = []
    for row in rows:
        x, end, y = time(row.gap.start_ms), time(row.gap.end_ms), bands[row.gap.cpu].y(rank[row.index])
        title = element("title", f"worker {row.index}: gap of {figure(round(row.gap.ms, 1))} ms on CPU {row.gap.cpu}")
        kind = "gap worst" if row is worst else "gap"
        marks.append(
            element("rect", title, class_=kind, x=x, y=y - FRAME.row / 2, width=max(end - x, 1.5), height=FRAME.row)
        )
    if worst is not None:
        y = bands[worst.gap.cpu].y(rank[worst.index]) + 4
        right = time(worst.gap.end_ms) + 5
        said = f"gap {figure(round(worst.gap.ms, 1))} ms"
        width = len(said) * 6.4 + 4
        left = right if right + width < time.end else time(worst.gap.start_ms) - 5 - width
        marks.append(element("rect", class_="behind", x=left - 2, y=y - 9, width=width, height=11))
        marks.append(element("text", said, class_="worst", x=left, y=y))
    return marks


def _steps(line: Timeline, time: Scale, bottom: float) -> list[Markup]:
    """A mark for each step, by its number; those too close to be told apart share one."""
    shared: list[list[int]] = []
    for at, step in enumerate(line.steps, 1):
        if shared and time(step.at_ms) - time(line.steps[shared[-1][0] - 1].at_ms) < 24:
            shared[-1].append(at)
        else:
            shared.append([at])
    marks = []
    for numbers in shared:
        x = time(line.steps[numbers[0] - 1].at_ms)
        name = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}\N{EN DASH}{numbers[-1]}"
        marks.append(element("line", class_="step", x1=x, x2=x, y1=FRAME.top - 6, y2=bottom + 2))
        marks.append(element("text", name, class_="mid", x=x, y=FRAME.top - 10))
    return marks


def _axis(scale: Scale, y: float, unit: str) -> list[Markup]:
    marks = []
    for value in ticks(scale.low, scale.high, 8):
        x = scale(value)
        marks.append(element("line", class_="tick", x1=x, x2=x, y1=y - 13, y2=y - 9))
        marks.append(element("text", f"{figure(value)}{unit}", class_="mid faint", x=x, y=y))
    return marks


@dataclass(frozen=True)
class HistoryPoint:
    """One commit: its short name, and the median, lowest and highest of its samples."""

    commit: str
    median: float
    low: float
    high: float
    samples: int


HISTORY_WIDTH, HISTORY_HEIGHT = 440.0, 130.0


def history_chart(points: Sequence[HistoryPoint], changes: Sequence[int], label: str) -> Markup:
    """Medians over commits, oldest first, with the range of each; ``changes`` are the points that begin a new level."""
    values = Scale(min(p.low for p in points), max(p.high for p in points), HISTORY_HEIGHT - 26, 12)
    across = Scale(0, max(len(points) - 1, 1), 62, HISTORY_WIDTH - 14)
    marks = []
    for value in ticks(values.low, values.high, 3):
        y = values(value)
        marks.append(element("line", class_="rule", x1=56, x2=HISTORY_WIDTH - 8, y1=y, y2=y))
        marks.append(element("text", figure(value), class_="end faint", x=50, y=y + 4))
    for at in changes:
        x = (across(at - 1) + across(at)) / 2 if at else across(at)
        marks.append(element("line", class_="change", x1=x, x2=x, y1=4, y2=HISTORY_HEIGHT - 22))
    spans = "".join(
        f"M{number(across(at))} {number(values(p.low))}V{number(values(p.high))}" for at, p in enumerate(points)
    )
    path = "L".join(f"{number(across(at))} {number(values(p.median))}" for at, p in enumerate(points))
    marks += [element("path", class_="range", d=spans), element("path", class_="line", d=f"M{path}")]
    for at, point in enumerate(points):
        kind = "dot changed" if at in changes else "dot"
        title = element("title", f"{point.commit}: {figure(point.median)}, {counted(point.samples, 'sample')}")
        marks.append(element("circle", title, class_=kind, cx=across(at), cy=values(point.median), r=3))
    for at, place in ((0, "begin"), (len(points) - 1, "end")):
        name = points[at].commit
        marks.append(element("text", name, class_=f"{place} faint mono", x=across(at), y=HISTORY_HEIGHT - 6))
    return drawing(HISTORY_WIDTH, HISTORY_HEIGHT, label, marks)

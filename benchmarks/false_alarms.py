"""How often each rule cries wolf, and how often it sees one: 60 metrics, many comparisons of made-up runs.

An experiment draws both sides of 60 metrics around 1,000; in the first half of it nothing differs (A/A), in the
second the first metric of side B is 5 % larger (worse). Three rules judge the same numbers: ours; the reference's
(Welch or disjoint bands), with its registry's smallest relative gate (10 %) and with our floor (2 %); and
benchstat's (Mann-Whitney at 0.05, each metric for itself). Every experiment has its own seed: the figures are the
same on every machine. Writes ``docs/false-alarms.csv`` and the tables of ``docs/statistics.md``.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from math import e, exp, sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from benchmarks.table import Row
from ktstr.stats.inference import MetricVerdict, Rule, Sample, Settings, Word, decide, decided, looks

Array: TypeAlias = NDArray[np.float64]

METRICS = 60
CENTER = 1000.0
EFFECT = 0.05
TRIALS = 1000
FEWER = 300  # where no budget is at stake
BUDGETED = (10, 20)
RUNS = (5, 7, 10, 15, 20, 30)
NOISES = (0.002, 0.01, 0.03, 0.05, 0.1)
DOCS = Path(__file__).parent.parent / "docs"
CURVES = DOCS / "false-alarms.csv"
PAGE = DOCS / "statistics.md"

OURS, LOOKS, BENCHSTAT = "ours", "ours, two looks", "benchstat"
REFERENCE, REFERENCE_AT_FLOOR = "reference", "reference, 2 %"


@dataclass(frozen=True)
class Data:
    """How values are made: ``noise`` draws deviations of unit variance, (metrics, runs), for one side.

    ``scenarios`` share the metrics evenly. ``wider``: side B's noise is so many times side A's.
    """

    name: str
    noise: Callable[[np.random.Generator, int], Array]
    scenarios: int = 1
    wider: float = 1.0
    step: float = 0.0


def _normal(random: np.random.Generator, runs: int) -> Array:
    return random.standard_normal((METRICS, runs))


def _skewed(random: np.random.Generator, runs: int) -> Array:
    drawn = random.lognormal(0.0, 1.0, (METRICS, runs))
    return (drawn - exp(0.5)) / sqrt((e - 1) * e)


def _heavy(random: np.random.Generator, runs: int) -> Array:
    return random.standard_t(3, (METRICS, runs)) / sqrt(3)


def _correlated(random: np.random.Generator, runs: int) -> Array:
    """Ten metrics in a row move together, at a correlation of 0.9, as percentiles of one latency do."""
    shared = np.repeat(random.standard_normal((METRICS // 10, runs)), 10, axis=0)
    return sqrt(0.9) * shared + sqrt(0.1) * random.standard_normal((METRICS, runs))


NORMAL = Data("normal", _normal)
OTHERS = (
    Data("six scenarios", _normal, scenarios=6),
    Data("six scenarios, correlated 0.9", _correlated, scenarios=6),
    Data("one scenario, correlated 0.9", _correlated),
    Data("skewed (lognormal)", _skewed),
    Data("heavy tails (t, 3 dof)", _heavy),
    Data("ties (steps of 2 %)", _normal, step=0.02),
    Data("side B twice as noisy", _normal, wider=2.0),
)


@dataclass(frozen=True)
class Experiment:
    """``trials`` comparisons of ``runs`` runs a side, with ``noise`` as a fraction of the centre."""

    data: Data
    runs: int
    noise: float
    trials: int


@dataclass(frozen=True)
class Outcome:
    """What a rule made of an experiment: shares of its comparisons.

    ``alarms``: A/A, any metric "regressed"; ``alarms_upper_99`` bounds the true share (Clopper-Pearson). Of the
    metric that is 5 % worse: ``found`` "regressed", ``undecided``; the rest was called the same.
    """

    data: str
    runs: int
    noise_pct: float
    rule: str
    trials: int
    alarms: float
    alarms_upper_99: float
    found: float
    undecided: float


def upper_bound(events: int, trials: int, confidence: float = 0.99) -> float:
    """Clopper and Pearson's one-sided upper bound of a probability."""
    return 1.0 if events >= trials else float(betaincinv(events + 1, trials - events, confidence))


def samples(data: Data, a: Array, b: Array, gate: float) -> list[Sample]:
    """Rows of ``a`` and ``b`` as metrics of which more is worse, with the default floor of 2 %."""
    share = METRICS // data.scenarios
    return [
        Sample(f"scenario {i // share}", f"metric {i % share}", a[i], b[i], 1, gate_rel=gate) for i in range(METRICS)
    ]


def _once(given: Sequence[Sample]) -> tuple[MetricVerdict, ...]:
    return decide(given, Rule.RANKS, Settings())


def _looking_twice(given: Sequence[Sample]) -> tuple[MetricVerdict, ...]:
    verdicts: tuple[MetricVerdict, ...] = ()
    for look in looks(given[0].a.size, Settings().alpha):
        seen = [replace(s, a=s.a[: look.runs], b=s.b[: look.runs]) for s in given]
        verdicts = decide(seen, Rule.RANKS, Settings(alpha=look.alpha))
        if decided(verdicts):
            break
    return verdicts


def _benchstat(verdict: MetricVerdict) -> Word:
    """Its word for our numbers: "~" is not "same", but neither does it ask for more runs."""
    significant = verdict.p is not None and verdict.p < 0.05 and verdict.shift is not None
    if not significant or verdict.shift is None:
        return Word.UNDECIDED
    return Word.REGRESSED if verdict.shift > 0 else Word.IMPROVED


def judged(data: Data, a: Array, b: Array) -> dict[str, list[Word]]:
    """The words of each rule for all metrics."""
    given = samples(data, a, b, 0.02)
    once = _once(given)
    return {
        OURS: [v.word for v in once],
        LOOKS: [v.word for v in _looking_twice(given)],
        REFERENCE: [v.word for v in decide(samples(data, a, b, 0.1), Rule.WELCH, Settings())],
        REFERENCE_AT_FLOOR: [v.word for v in decide(given, Rule.WELCH, Settings())],
        BENCHSTAT: [_benchstat(v) for v in once],
    }


def draw(data: Data, random: np.random.Generator, experiment: Experiment, noise: float) -> Array:
    """One side: (metrics, runs)."""
    relative = noise * data.noise(random, experiment.runs)
    if data.step:
        relative = np.round(relative / data.step) * data.step
    return CENTER * (1 + relative)


def measure(experiment: Experiment) -> list[Outcome]:
    """An outcome for each rule."""
    data = experiment.data
    random = np.random.default_rng([experiment.runs, round(experiment.noise * 1e6), sum(data.name.encode())])
    alarms: dict[str, int] = {}
    found: dict[str, int] = {}
    undecided: dict[str, int] = {}
    for _ in range(experiment.trials):
        a = draw(data, random, experiment, experiment.noise)
        b = draw(data, random, experiment, experiment.noise * data.wider)
        for rule, words in judged(data, a, b).items():
            alarms[rule] = alarms.get(rule, 0) + (Word.REGRESSED in words)
        b[0] += EFFECT * CENTER
        for rule, words in judged(data, a, b).items():
            found[rule] = found.get(rule, 0) + (words[0] is Word.REGRESSED)
            undecided[rule] = undecided.get(rule, 0) + (words[0] is Word.UNDECIDED)
    trials = experiment.trials
    return [
        Outcome(
            data=data.name,
            runs=experiment.runs,
            noise_pct=round(experiment.noise * 100, 3),
            rule=rule,
            trials=trials,
            alarms=alarms[rule] / trials,
            alarms_upper_99=round(upper_bound(alarms[rule], trials), 4),
            found=found[rule] / trials,
            undecided=undecided[rule] / trials,
        )
        for rule in alarms
    ]


def experiments() -> list[Experiment]:
    """The curves over runs and noise on normal data, then other data at 3 %."""
    curves = [
        Experiment(NORMAL, runs, noise, TRIALS if runs in BUDGETED else FEWER) for runs in RUNS for noise in NOISES
    ]
    return curves + [Experiment(data, runs, 0.03, TRIALS) for data in OTHERS for runs in BUDGETED]


def as_csv(outcomes: Iterable[Outcome]) -> str:
    """One line per outcome, with a head."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Outcome)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(outcome) for outcome in outcomes)
    return text.getvalue()


def from_csv(text: str) -> list[Outcome]:
    """What as_csv wrote."""
    return [
        Outcome(
            data=line["data"],
            runs=int(line["runs"]),
            noise_pct=float(line["noise_pct"]),
            rule=line["rule"],
            trials=int(line["trials"]),
            alarms=float(line["alarms"]),
            alarms_upper_99=float(line["alarms_upper_99"]),
            found=float(line["found"]),
            undecided=float(line["undecided"]),
        )
        for line in csv.DictReader(io.StringIO(text))
    ]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines)) + "\n"


RULES = (OURS, LOOKS, REFERENCE, REFERENCE_AT_FLOOR, BENCHSTAT)


def tables(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The page's tables by name: ``alarms`` and ``found`` over runs and noise, ``data`` for other data; percent."""
    by_place: dict[tuple[str, int, float], dict[str, Outcome]] = {}
    for outcome in outcomes:
        by_place.setdefault((outcome.data, outcome.runs, outcome.noise_pct), {})[outcome.rule] = outcome
    normal = {place: rules for place, rules in by_place.items() if place[0] == NORMAL.name}
    other = {place: rules for place, rules in by_place.items() if place[0] != NORMAL.name}

    def cell(share: float) -> str:
        return f"{share * 100:.1f}"

    return {
        "alarms": _table(
            ("runs a side", "noise", *RULES),
            [(str(n), f"{noise:g} %", *(cell(at[r].alarms) for r in RULES)) for (_, n, noise), at in normal.items()],
        ),
        "found": _table(
            ("runs a side", "noise", "ours", "ours: undecided", *RULES[1:]),
            [
                [str(n), f"{noise:g} %", cell(at[OURS].found), cell(at[OURS].undecided)]
                + [cell(at[r].found) for r in RULES[1:]]
                for (_, n, noise), at in normal.items()
            ],
        ),
        "data": _table(
            ("data, 3 % noise", "runs a side", *RULES, "found by ours"),
            [
                (name, str(n), *(cell(at[r].alarms) for r in RULES), cell(at[OURS].found))
                for (name, n, _), at in other.items()
            ],
        ),
    }


def with_tables(page: str, made: dict[str, str]) -> str:
    """``page`` with what is between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` replaced by the table NAME."""
    for name, table in made.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise ValueError(f"no {begin.strip()} ... {end} in the page")
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


def rows() -> list[Row]:
    """Measure and write everything; the figures that have a budget, and the other rules' beside them."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        outcomes = [outcome for found in pool.map(measure, experiments()) for outcome in found]
    CURVES.write_text(as_csv(outcomes), encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables(outcomes)), encoding="utf-8")
    return [row for rule in RULES for row in _rows_of(rule, outcomes)]


def _rows_of(rule: str, outcomes: Iterable[Outcome]) -> list[Row]:
    """Budgets are ours only."""
    ours = rule in (OURS, LOOKS)
    mine = [o for o in outcomes if o.rule == rule and o.data == NORMAL.name]
    at_3 = {o.runs: o for o in mine if o.noise_pct == 3}
    figures = [
        (f"A/A, N={n}: any alarm, 99 % bound", max(o.alarms_upper_99 for o in mine if o.runs == n), 5.0)
        for n in BUDGETED
    ]
    figures.append(("5 % worse at 3 %, N=20: missed", 1 - at_3[20].found, 10.0))
    figures.append(("N=10: neither found nor undecided", 1 - at_3[10].found - at_3[10].undecided, 5.0))
    return [
        Row(f"{rule}: {what}", abs(round(share * 100, 2)), "%", budget=budget if ours else None)
        for what, share, budget in figures
    ]

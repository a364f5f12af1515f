"""Writes docs/scenarios.md from the tables of fields and the examples: ``python -m tests.docs.scenarios_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ktstr.config import fields, scenario_fields
from ktstr.config.fields import Field, Table
from ktstr.record.facts import WorkFacts
from ktstr.record.vocabulary import WORK_TYPES
from tests.docs.scenario_examples import OPS, PARTS, TOGETHER

PAGE = Path(__file__).parent.parent.parent / "docs" / "scenarios.md"
EXAMPLES = PAGE.parent / "examples"

_HEAD = """\
# Scenarios

What a test does, from three lines to a day in the life of a machine. This page is made from the tables that ktstr.yaml
is read by; every example is a whole test, and runs as it stands.

    doit test test=NAME         # on the topology that the test names
    doit cell_plan test=NAME    # what it comes to there: every op with its moment, CPUs and workers

Mistakes are found before anything runs, and named by file, line and column.
"""
_STEPS = """\
## Steps

A test is a list of cgroups, or a `backdrop` that lives as long as the test, and `steps` that come one after the other.
In a step the ops come first, then its cgroups with their workers, then payloads, then the hold. What a step made ends
with it. Each step is a phase: its numbers are judged, stored and compared by themselves.
"""
_NESTED = """\
## Cgroups

A cgroup is named by its path, up to eight deep; those on the way that are not declared are made. Only the innermost
hold workers, as cgroup v2 has it: `workers: 0` makes one for others to be in, or to be moved to. Files of controllers
are keys by their own names.
"""
_WORK_TYPES = """\
### Work types

Workers of a crew work together: a work has as many crews as its `workers` make, a multiple of the number here. What a
type counts is in `workers[].counts` of the sidecar; where the kernel can tell, it is the kernel's number. `Schbench`
and `Taobench` time their requests: `max_p99_request_latency_ns` judges them, and `request_p99_latency_us_whole`,
`taobench_serve_p99_us_whole` and their like are metrics. Types that take a policy or CPUs of their own (`PolicyChurn`,
`PriorityInversion`, `PreemptStorm`, `RtStarvation`, `AffinityChurn`) put back what was declared when they end, and stay
within their cgroup's CPUs. `CgroupChurn` and `CgroupAttachStorm` make threaded cgroups below their own, which limits
those too, and need one: they are refused outside of the test's cgroups. `PriorityInversion` uses priorities 1 to 3,
the first of a `PreemptStorm` or an `RtStarvation` 50.

`Schbench` is the load of schbench, in its own words: a crew is a message thread (-m) and its `worker_threads` (-t),
`cache_footprint_kib` is -F, `operations` -n, `think` -s, `rps` -R, `auto_rps` -A, `pipe` -p, `locking: false` -L. In
one thing it is not: at a rate, requests come evenly and not all at the begin of a second, and the rate is steered five
times a second, since a test is short. The locks of CPUs are of a crew, and a wait in which nobody
slept is no wakeup. Two workers with -F64 -n2 on two emulated CPUs for 2 s, schbench's loops beside it in the same
guest: 116 requests against 107, p50 32.8 ms against 34.9, p90 42.4 against 47.8, p99 48.4 against 59.3; wakeups p99 2.3
ms against 1.4. `Taobench` asks for keys evenly, of which
`hit_percent` of a hundred fit in; a request is late from when it was due, whatever its worker did then.

There is no `NetTraffic` and no `IrqWake`: they need a network device, and guests have none.
"""
_ISOLATION = """\
## The machine

CPUs may be offline before the scheduler attaches, isolated, or without a tick. `offline` and `online` are ops too: a
CPU that a step took is back when the step is over, one that the backdrop took when the test is.
"""
_DEFINE = """\
## Said once

`define:` names a mapping, `use:` puts its keys where they are not said otherwise, in tests, cgroups, works, steps,
payloads and schedulers. `matrix:` makes a test of each combination, here `definitions.0` and `definitions.5`.
`include:` takes in other files.
"""


def render() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        _example("short"),
        _STEPS,
        _table("of a step", scenario_fields.STEP),
        _file("steps"),
        _example("loop"),
        _NESTED,
        _table("of a cgroup", {k: f for k, f in scenario_fields.CGROUP.items() if k not in scenario_fields.WORK}),
        _example("controllers"),
        "## Workers\n",
        _table("of a work", scenario_fields.WORK),
        _WORK_TYPES,
        _work_types(),
        _words("phase", {kind: field.about for kind, field in scenario_fields.PHASES.items()}),
        "CPUs are said by one of these forms:\n",
        _words("form", scenario_fields.CPUSET),
        _words("affinity", scenario_fields.AFFINITIES),
        _words("memory policy", scenario_fields.MEM_POLICIES),
        _example("workers"),
        "## Ops\n",
        *map(_op, scenario_fields.OPS),
        _ISOLATION,
        _example("isolation"),
        "## Payloads\n\ndocs/payloads.md has more.\n",
        _table("of a payload", scenario_fields.PAYLOAD),
        _DEFINE,
        _example("definitions"),
        "200 cells, of one test:\n",
        _file("matrix"),
        "## Keys of a test\n",
        _table("of a test", fields.TEST),
    ]
    return "\n".join(parts)


def _work_types() -> str:
    rows = ["| type | crew | what a worker does | its keys | it counts |", "|---|---|---|---|---|"]
    for name, facts in WORK_TYPES.items():
        keys = ["phases"] if facts.has_phases else [param.key for param in facts.params]
        words = (_crew(facts), facts.about, _codes(keys), _codes(count.name for count in facts.counts))
        rows.append(f"| `{name}` | {' | '.join(words)} |")
    return "\n".join([*rows, ""])


def _crew(facts: WorkFacts) -> str:
    counted = [f"`{param.key}`" for param in facts.params[: facts.group_params]]
    return " + ".join([*counted, str(facts.group_size)] if facts.group_size or not counted else counted)


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "-"


def _op(name: str) -> str:
    rows = [f"### {name}\n", f"{scenario_fields.OP_ABOUT[name].capitalize()}.\n"]
    own = {key: field for key, field in scenario_fields.OPS[name].items() if key != "op"}
    more = [
        (scenario_fields.WORK, "and the keys of a work"),
        (scenario_fields.CONTROLS, "and files of controllers, as of a cgroup"),
    ]
    words = []
    for table, what in more:
        if set(table) <= set(own):
            own = {key: field for key, field in own.items() if key not in table}
            words.append(what)
    if own:
        rows.append(_table("", own))
    if words:
        rows.append(f"{', '.join(words).capitalize()}.\n")
    if name in OPS:
        rows.append(f"```yaml\n{OPS[name]}```\n")
    else:
        rows.append(f"See [{TOGETHER[name]}](#{TOGETHER[name]}).\n")
    return "\n".join(rows)


def _table(what: str, table: Table) -> str:
    head = f"| key {what} | |".replace("key  |", "key |")
    return "\n".join([head, "|---|---|", *(f"| `{key}` | {_about(field)} |" for key, field in table.items()), ""])


def _about(field: Field) -> str:
    text = field.about.replace("|", "\\|")
    if field.choices and len(field.choices) > 1:
        text += ": " + ", ".join(f"`{choice}`" for choice in field.choices)
    return f"{text}; required" if field.required else text


def _words(what: str, words: dict[str, str]) -> str:
    return "\n".join([f"| {what} | |", "|---|---|", *(f"| `{word}` | {about} |" for word, about in words.items()), ""])


def _example(name: str) -> str:
    return f"```yaml\n{PARTS[name]}```\n"


def _file(name: str) -> str:
    text = (EXAMPLES / name / "ktstr.yaml").read_text(encoding="utf-8")
    return f"docs/examples/{name}/ktstr.yaml:\n\n```yaml\n{text}```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")

"""Writes docs/catalogue.md from the canned scenarios: ``python -m tests.docs.catalogue_page``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ktstr.commands.catalogue import Row, row_of
from ktstr.config import catalogue
from ktstr.config.load import typed

PAGE = Path(__file__).parent.parent.parent / "docs" / "catalogue.md"

_HEAD = """\
# The catalogue

Canned scenarios, from two cgroups of spinners to cpusets that trade places while workers run: what a scheduler should
get through before a test of its own is written. This page is made from their declarations.

```yaml
include: ktstr:catalogue
```

    doit test test=cgroup_steady scheduler=mine                  # one, on the smallest topology that it can run on
    doit test 'test=cgroup_cpuset_*' preset=smt-2llc,numa2-4llc  # several, on some
    doit test test=category:stress                               # all of a category
    doit catalogue                                               # the list; category=, test= and json=1 too
    doit catalogue show=cgroup_steady                            # how one is written, to copy and change

They are in no matrix: `doit test` runs those that are named, and a matrix those that its `tests` mean, such as
`tests: category:basic`. `include: ktstr:catalogue/stress` brings one category alone. A test of the user's own with the
name of one of these takes its place. A scenario is skipped where the machine has too few CPUs, LLCs or NUMA nodes for
it, and the report says so.

Each is a test as [scenarios](scenarios.md) describes them, with the checks that every test has ([checks](checks.md))
and those that are in the table. Limits that are wider than the default ones are what EEVDF holds on all presets with up
to 16 CPUs: of workers that compete with another cgroup on some CPUs and not on others, a fair scheduler treats some
worse than others for a while, so their spread says little. `per_cpu`, `copies`, `within` and `spread` fit a scenario to
the machine.

The reference's flags of schedulers (`borrow`, `rebal`, `llc`, ...) are not here: every scenario can be run under every
scheduler, and the description says what it asks for. Those that need the cpu controller to be off say
`cpu_controller: false`.
"""


def render() -> str:
    """The whole page."""
    rows = [row_of(test) for test in typed(catalogue.sources()).tests.values()]
    return "\n".join([_HEAD, *_tables(rows)])


def _tables(rows: list[Row]) -> Iterator[str]:
    for category in dict.fromkeys(row.category for row in rows):
        mine = [row for row in rows if row.category == category]
        yield f"## {category} ({len(mine)})\n"
        yield "| scenario | | workers | needs | checks |"
        yield "|---|---|---|---|---|"
        yield from (_line(row) for row in mine)
        yield ""


def _line(row: Row) -> str:
    checks = ", ".join(f"{name} {str(value).lower()}" for name, value in row.checks.items())
    return f"| `{row.name}` | {row.description} | {', '.join(row.work_types)} | {row.needs} | {checks} |"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")

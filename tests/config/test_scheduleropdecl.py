"""What may become of a scheduler within a run, and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.load import parse
from ktstr.config.model import SchedulerOp
from ktstr.errors import InputError

MS = 1_000_000
TEXT = """\
kernels: {k: deb:forky/cloud-amd64}
schedulers: {mine: {path: /bin/true}}
tests:
  t:
    duration: 1s
    cgroups: [{name: a}]
    scheduler_ops: [OPS]
"""


def ops(text: str) -> tuple[SchedulerOp, ...]:
    return parse(TEXT.replace("OPS", text).encode(), Path("ktstr.yaml")).tests["t"].scheduler_ops


def test_ops_are_read_in_order() -> None:
    replaced = "{at: 300ms, op: replace, args: [--slice-us, 2000]}"
    assert ops(f"{{at: 0ms, op: detach}}, {{at: 300ms, op: attach}}, {replaced}") == (
        SchedulerOp(0, "detach"),
        SchedulerOp(300 * MS, "attach"),
        SchedulerOp(300 * MS, "replace", ("--slice-us", "2000")),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{at: 1ms, op: attach}", "expected detach, restart or replace: it is attached then"),
        ("{at: 1ms, op: detach}, {at: 2ms, op: restart}", "[1].op: found 'restart', expected attach: it is detached"),
        (
            "{at: 2ms, op: restart}, {at: 1ms, op: restart}",
            "[1].at: found '1ms', expected no earlier than",
        ),
        ("{at: 1s, op: restart}", "expected within the test's duration, 1s"),
        ("{at: 1ms, op: restart, args: [x]}", "[0].args: found 'args', expected args only beside op: replace"),
        ("{at: 1ms, op: attach, scheduler: mine}", "[0].scheduler: found 'scheduler', expected scheduler only beside"),
        (
            "{at: 1ms, op: replace, scheduler: mind}",
            "[0].scheduler: found 'mind', expected one of the schedulers (mine, eevdf), nearest match 'mine'",
        ),
        (
            "{at: 1ms, op: replace, scheduler: eevdf}",
            "[0].scheduler: found 'eevdf', expected one that is a program: op: detach gives way to the kernel's own",
        ),
        ("{op: restart}", "[0].at: found nothing"),
        ("{at: 1ms, op: kill}", "'kill'"),
        (", ".join(["{at: 1ms, op: restart}"] * 65), "found 65 ops, expected at most 64"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        ops(text)
    assert says in str(caught.value) and "ktstr.yaml:7:" in str(caught.value)


def test_a_scheduler_that_is_declared_wrongly_is_one_problem() -> None:
    text = TEXT.replace("OPS", "{at: 1ms, op: replace, scheduler: wrong}").replace("{mine:", "{wrong: 3, mine:")
    with pytest.raises(InputError) as caught:
        parse(text.encode(), Path("ktstr.yaml"))
    assert "scheduler_ops" not in str(caught.value)


def test_another_scheduler_takes_the_place_with_its_arguments_or_with_others() -> None:
    assert ops("{at: 1ms, op: replace, scheduler: mine}, {at: 2ms, op: replace, scheduler: mine, args: [-x]}") == (
        SchedulerOp(MS, "replace", None, "mine"),
        SchedulerOp(2 * MS, "replace", ("-x",), "mine"),
    )

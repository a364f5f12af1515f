"""The ledger's exit code: the worst wins, an interruption wins over everything, git bisect has its own."""

from __future__ import annotations

import pytest

from ktstr.errors import HostError, InputError, KtstrError
from ktstr.results.ledger import ABORT, BAD, GOOD, UNTESTABLE, CellOutcome, ExitRules, Ledger, failure

RULES = ExitRules()


def ledger(*verdicts: str, failed: str | None = None) -> Ledger:
    """After its cells: one outcome per verdict."""
    made = Ledger()
    for i, verdict in enumerate(verdicts):
        made.record(CellOutcome(f"cell{i}", verdict, ()))
    if failed:
        made.fail(failed, HostError("no"))
    return made


@pytest.mark.parametrize(
    ("codes", "failures", "expected"),
    [
        ([], {}, 0),
        ([1], {}, 1),
        ([1, 3], {}, 3),
        ([1], {"kernel:x": HostError("gone")}, 3),
        ([1, 3], {"agent": InputError("bad")}, 2),
    ],
)
def test_worst_code_wins_2_before_3_before_1(codes: list[int], failures: dict[str, KtstrError], expected: int) -> None:
    made = Ledger()
    for code in codes:
        made.note(code)
    for task, error in failures.items():
        made.fail(task, error)
    assert made.exit_code(RULES) == expected


@pytest.mark.parametrize(
    ("verdict", "code"), [("pass", 0), ("skip", 0), ("not run", 0), ("fail", 1), ("inconclusive", 1), ("error", 3)]
)
def test_each_verdict_has_its_code(verdict: str, code: int) -> None:
    assert ledger(verdict).exit_code(RULES) == code


def test_a_cells_own_code_counts() -> None:
    made = Ledger()
    made.record(failure("x", InputError("bad")))
    assert made.exit_code(RULES) == 2


def test_inconclusive_may_be_allowed_and_a_failure_beside_it_still_counts() -> None:
    rules = ExitRules(allow_inconclusive=True)
    assert ledger("inconclusive", "pass").exit_code(rules) == 0
    assert ledger("inconclusive", "fail").exit_code(rules) == 1


def test_all_skipped_is_3_where_that_is_asked_for() -> None:
    assert ledger("skip", "skip").exit_code(ExitRules(no_skip=True)) == 3
    assert ledger("skip", "pass").exit_code(ExitRules(no_skip=True)) == 0
    assert ledger().exit_code(ExitRules(no_skip=True)) == 0


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_interruption_wins_over_everything(number: int, code: int) -> None:
    made = ledger("fail")
    made.note(2)
    assert made.exit_code(RULES, number) == code
    assert made.exit_code(ExitRules(bisect=True), number) == code


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (ledger("pass", "pass"), GOOD),
        (ledger("pass", "fail"), BAD),
        (ledger("fail", "error"), BAD),
        (ledger("pass", "inconclusive"), UNTESTABLE),
        (ledger("pass", "error"), UNTESTABLE),
        (ledger(), UNTESTABLE),
        (ledger("skip"), UNTESTABLE),
        (ledger("pass", "skip"), GOOD),
        (ledger("pass", "not run"), UNTESTABLE),
        (ledger(failed="kernel:here"), UNTESTABLE),
        (ledger("error", failed="scheduler:x@here"), UNTESTABLE),
        (ledger(failed="tools:qemu"), ABORT),
        (ledger("pass", failed="doit"), ABORT),
    ],
)
def test_of_a_bisection_only_a_verdict_is_good_or_bad(made: Ledger, code: int) -> None:
    assert made.exit_code(ExitRules(bisect=True)) == code


@pytest.mark.parametrize(("note", "code"), [(0, GOOD), (1, BAD), (125, UNTESTABLE)])
def test_of_a_bisection_a_comparison_counts_too(note: int, code: int) -> None:
    made = ledger("pass")
    made.note(note)
    assert made.exit_code(ExitRules(bisect=True)) == code


def test_the_first_failure_among_what_a_cell_needs_is_its_cause() -> None:
    made = ledger(failed="kernel:here")
    assert str(made.cause(("image:x", "kernel:here"))) == "no"
    assert made.cause(("image:x",)) is None

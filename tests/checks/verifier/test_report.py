from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
from msgspec.structs import replace

from ktstr.checks.verifier.programs import prog_stats, verifier_stats
from ktstr.checks.verifier.report import report, verified
from ktstr.record.codec import encode
from ktstr.record.dump import Inspected
from ktstr.record.kernel import BpfProgram
from ktstr.record.sidecar import ProgStats, VerifierStats
from ktstr.record.verification import VerifiedCell
from ktstr.results.verifier_text import render

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/verifier.schema.json").read_text())


def cell(scheduler: str = "mine", kernel: str = "6.12", commit: str | None = None, **insns: int) -> VerifiedCell:
    stats = tuple(VerifierStats(name, count) for name, count in insns.items())
    return VerifiedCell(
        scheduler=scheduler, kernel=kernel, preset="tiny-1llc", commit=commit, status="loaded", reason=None,
        refused_program=None, programs=verified(stats), total_verified_insns=sum(insns.values()), log_stats=None,
        log=(),
    )  # fmt: skip


def test_programs_have_their_share_of_a_million_and_three_quarters_of_it_is_near() -> None:
    rows = verified((VerifierStats("a", 749_999), VerifierStats("b", 750_000), VerifierStats("c", 1234)))
    assert [(row.name, row.limit_pct, row.near_limit) for row in rows] == [
        ("b", 75.0, True), ("a", 75.0, False), ("c", 0.1, False),
    ]  # fmt: skip


def test_two_kernels_are_compared_program_by_program() -> None:
    found = report([cell(kernel="6.12", a=10, gone=5), cell(kernel="7.2", a=13, new=1)])
    (one,) = found.differences
    assert (one.axis, one.a, one.b, one.scheduler, one.kernel) == ("kernel", "6.12", "7.2", "mine", None)
    assert {row.name: (row.a, row.b, row.delta) for row in one.programs} == {
        "a": (10, 13, 3), "gone": (5, None, None), "new": (None, 1, None),
    }  # fmt: skip


def test_two_versions_and_two_commits_too_and_of_several_axes_the_commit_is_meant() -> None:
    assert report([cell("v1", a=1), cell("v2", a=2)]).differences[0].axis == "scheduler"
    both = [cell(kernel=kernel, commit=commit, a=1) for commit in ("abc1234", "def5678") for kernel in ("6.12", "7.2")]
    found = report(both).differences
    assert [(one.axis, one.kernel) for one in found] == [("commit", "6.12"), ("commit", "7.2")]


def test_three_kernels_are_not_compared_and_neither_is_what_did_not_load() -> None:
    assert report([cell(kernel=kernel, a=1) for kernel in ("1", "2", "3")]).differences == ()
    assert report([cell(kernel="1", a=1), cell(kernel="2")]).differences == ()


def test_the_text_has_programs_warnings_differences_and_why_one_is_refused() -> None:
    refused = replace(
        cell("bad", "7.2"), status="refused", reason="R1 invalid mem access 'scalar'", refused_program="bad_dispatch",
        log=("0: R1=ctx()",),
    )  # fmt: skip
    text = render(report([cell(kernel="6.12", a=800_000), cell(kernel="7.2", a=800_100), refused]))
    for words in (
        "bad on 7.2, tiny-1llc: REFUSED", "program bad_dispatch: R1 invalid mem access 'scalar'", "80.0 %  !", "+100",
        "warning: at 75 % of 1000000 verified instructions or more:", "3 cells: 2 load, 1 refused",
    ):  # fmt: skip
        assert words in text, text


def test_the_document_fits_its_schema() -> None:
    found = report([cell(kernel="6.12", a=800_000), cell(kernel="7.2", b=1)])
    jsonschema_rs.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(encode(found))))


def program(number: int, calls: int = 0, nsecs: int = 0) -> BpfProgram:
    return BpfProgram(
        id=number, name=f"p{number}", type="STRUCT_OPS", tag="0" * 16, verified_insns=10 * number, jited_len=1,
        run_cnt=calls, run_time_ns=nsecs, recursion_misses=0,
    )  # fmt: skip


def test_a_sidecar_has_what_was_verified_and_the_profile_of_what_was_counted() -> None:
    inspected = Inspected(
        programs=(program(1, 5, 100), program(2)), profile=(program(1, 15, 2100), program(2), program(3, 9, 9)),
        watchdog_timeout_ms=None, early=None, late=None, unread=None,
    )  # fmt: skip
    assert verifier_stats(inspected) == (VerifierStats("p1", 10), VerifierStats("p2", 20))
    assert prog_stats(inspected) == (ProgStats("p1", 10, 2000, 200.0), ProgStats("p2", 0, 0, 0.0))
    assert (verifier_stats(None), prog_stats(None)) == ((), ())

"""What the verifier walked, and what callbacks cost."""

from __future__ import annotations

import pytest

from ktstr.record.sidecar import ProgStats, VerifierStats
from ktstr.stats.analysis.extras import Extras
from ktstr.stats.analysis.programs import Verified, callback_text, verified_programs, verifier_text


def run(*verified: tuple[str, int], callbacks: tuple[ProgStats, ...] = ()) -> Extras:
    return Extras("steady", "1n1l1c1t", tuple(VerifierStats(*program) for program in verified), callbacks, None)


def test_without_programs_there_is_nothing_to_say() -> None:
    assert verifier_text(verified_programs([run(), run()])) == callback_text([run()]) == ""


def test_two_programs_add_up_without_a_warning() -> None:
    text = verifier_text(verified_programs([run(("enqueue", 50000), ("dispatch", 30000))]))
    assert text == (
        "\n=== BPF VERIFIER STATS ===\n\n"
        "  program                      verified   limit%\n"
        "  ------------------------ ------------ --------\n"
        "  dispatch                        30000     3.0%\n"
        "  enqueue                         50000     5.0%\n"
        "\n"
        "  total verified insns: 80000\n"
    )


def test_a_program_near_the_limit_is_flagged_and_warned_of() -> None:
    lines = verifier_text(verified_programs([run(("big", 800000), ("small", 1))])).splitlines()
    assert "  big                            800000    80.0% !" in lines
    assert lines[-2:] == [
        "WARNING: programs near verifier complexity limit:",
        "  big: 80.0% of 1M limit (800000 verified insns)",
    ]


@pytest.mark.parametrize(("insns", "near"), [(749_999, False), (750_000, True)])
def test_near_is_from_three_quarters_on(insns: int, near: bool) -> None:
    assert Verified("p", insns).near_limit is near


def test_the_same_program_in_two_sidecars_is_counted_once_by_its_most() -> None:
    found = verified_programs([run(("p", 50000)), run(("p", 50000)), run(("p", 40000))])
    assert found == (Verified("p", 50000),)
    assert "  total verified insns: 50000\n" in verifier_text(found)


def test_callbacks_are_shown_for_each_sidecar_and_never_added_up() -> None:
    one = run(callbacks=(ProgStats("enqueue", 10, 2550, 255.0), ProgStats("never", 0, 0, 0)))
    text = callback_text([one, run(), one])
    block = (
        "\n  steady (1n1l1c1t):\n"
        "    program                           cnt       total_ns       avg_ns\n"
        "    ------------------------ ------------ -------------- ------------\n"
        "    enqueue                            10           2550          255\n"
        "    never                               0              0            0\n"
    )
    assert text == "\n=== BPF CALLBACK PROFILE ===\n" + block * 2

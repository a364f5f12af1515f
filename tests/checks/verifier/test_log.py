from __future__ import annotations

from ktstr.checks.verifier.log import refused_in, shown
from ktstr.record.verification import LogStats
from tests.checks.verifier.test_cycles import HEAD, rounds

LOG = """\
libbpf: prog 'mine_dispatch': BPF program load failed: Permission denied
libbpf: prog 'mine_dispatch': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
57: (7b) *(u64 *)(r1 +0) = r2
R1 invalid mem access 'scalar'
verification time 1234 usec
stack depth 16+0
processed 19 insns (limit 1000000) max_states_per_insn 2 total_states 5 peak_states 3 mark_read 0
-- END PROG LOAD LOG --
libbpf: failed to load object 'mine'
"""


def test_a_refusal_names_the_program_the_reason_and_what_checking_cost() -> None:
    found = refused_in(LOG)
    assert found is not None
    assert (found.program, found.reason) == ("mine_dispatch", "R1 invalid mem access 'scalar'")
    assert found.lines[0] == "0: R1=ctx() R10=fp0" and found.lines[-1].startswith("processed 19")
    assert found.stats == LogStats(processed_insns=19, total_states=5, peak_states=3, time_us=1234, stack_depth="16+0")


def test_a_log_that_is_cut_before_its_end_is_read_as_far_as_it_goes() -> None:
    found = refused_in(LOG[: LOG.index("verification time")])
    assert found is not None and found.reason == "R1 invalid mem access 'scalar'"
    assert found.stats == LogStats()


def test_a_log_without_the_verifiers_words_is_none() -> None:
    assert refused_in("mine: no such option\n") is None


def test_rounds_are_left_out_unless_the_log_is_wanted_raw() -> None:
    lines = (*HEAD, *rounds(50))
    assert len(shown(lines, raw=False)) < 20
    assert shown(lines, raw=True) == list(lines)


def test_escapes_of_a_terminal_are_gone() -> None:
    found = refused_in(LOG.replace("R1 invalid", "\x1b[31mR1 invalid"))
    assert found is not None and found.reason == "R1 invalid mem access 'scalar'"

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks import quote


def test_last_words_are_the_last_lines_that_say_something() -> None:
    assert quote.last_words("one\n\ntwo\r\nthree\n  \nfour\n\n") == "two | three | four"
    assert quote.last_words("\n \n") == ""


def test_terminal_escapes_are_removed_whole() -> None:
    assert quote.clean("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b[2J") == "red x"


LOAD = """\
\x1b[32m INFO\x1b[0m scx_mine: scx_mine 1.1.4
WARN scx_utils::libbpf_logger: libbpf: failed to open system Kconfig
WARN scx_utils::libbpf_logger: libbpf: prog 'mine_init': BPF program load failed: Permission denied
WARN scx_utils::libbpf_logger: libbpf: prog 'mine_init': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
R1 invalid mem access 'scalar'
processed 17 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
-- END PROG LOAD LOG --
WARN scx_utils::libbpf_logger: libbpf: failed to load object 'bpf_bpf': -EACCES
Error: Failed to load BPF program

Caused by:
    Permission denied (os error 13)
"""


def test_of_a_failed_load_the_first_complaint_and_the_verifiers_reason_are_told() -> None:
    found = quote.telling_words(LOAD).split(" | ")
    assert found[0].endswith("libbpf: failed to open system Kconfig")
    assert found[1].endswith("BPF program load failed: Permission denied")
    assert found[2:] == [
        "R1 invalid mem access 'scalar'",
        "Error: Failed to load BPF program",
        "Caused by:",
        "Permission denied (os error 13)",
    ]
    assert quote.telling_words("one\ntwo\n") == "one | two"
    ended = "curr=init[1] class=rt\n\n=====\nEXIT: scx_bpf_error (init from non-central CPU)\n=====\n"
    assert quote.telling_words(ended) == "EXIT: scx_bpf_error (init from non-central CPU)"


def test_a_log_is_kept_without_colours() -> None:
    assert quote.plain(LOAD).splitlines()[0] == " INFO scx_mine: scx_mine 1.1.4"


@given(st.text())
def test_what_is_quoted_is_one_short_printable_line(text: str) -> None:
    found = quote.clean(text)
    assert len(found) <= quote.LINE_MAX
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in found)
    assert found.encode().decode() == found

"""The tables of work types and ops are those of the files that the agent includes, and a wrong row is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.record import definitions
from ktstr.record.definitions import read_ops, read_work_types, render_op_table, render_work_table, write
from ktstr.record.facts import OpFacts, WorkCount, WorkFacts, WorkParam
from ktstr.record.op_table import OPS
from ktstr.record.work_table import WORK_TYPES

ROOT = Path(__file__).parents[2]
INCLUDE = ROOT / "vmm_c/include"
RECORD = ROOT / "ktstr/record"

NAP = 'WORK_TYPE(NAP, nap, 1, Nap, 2, WAKES | PIPES, 16, "sleeps, and wakes")'
CREW = "WORK_GROUP(NAP, 1, 8)"
NAPPED = 'WORK_COUNT(NAP, naps, COUNT, "how often it slept")'
LENGTH = 'WORK_PARAM(NAP, nap, nap_ns, NS, 5, 1, 9, "length of a nap")'
WORK = 'OP(WORK, work, 3, Work, WORK | NS, MAKES | TAKES_DOWN, "works")'


def test_a_type_that_yields_says_so_in_its_row() -> None:
    rows = re.findall(r"^WORK_TYPE\(\w+, (\w+), \d+, (\w+),", (INCLUDE / "work_types.def").read_text(), re.MULTILINE)
    folder = INCLUDE.parent / "guest/work"
    yields = {name for symbol, name in rows if "sched_yield(" in (folder / f"{symbol}.c").read_text(encoding="utf-8")}
    assert yields == {name for name, facts in WORK_TYPES.items() if facts.yields}


def test_the_tables_are_those_of_the_files_that_the_agent_includes(tmp_path: Path) -> None:
    write(INCLUDE, tmp_path)
    for name in ("work_table.py", "op_table.py"):
        assert (tmp_path / name).read_text() == (RECORD / name).read_text(), "python -m ktstr.record.definitions"


def test_what_is_written_says_what_was_read() -> None:
    assert read_work_types(INCLUDE / "work_types.def") == WORK_TYPES
    assert read_ops(INCLUDE / "ops.def") == OPS


def test_the_names_of_fields_and_flags_are_those_in_use() -> None:
    assert {field for facts in OPS.values() for field in facts.fields} == set(definitions.OP_FIELDS)


def test_the_vocabulary_parses_nothing() -> None:
    """It is imported by every command."""
    code = "import sys; import ktstr.record.vocabulary; print('ktstr.record.definitions' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def file(folder: Path, *lines: str) -> Path:
    path = folder / "x.def"
    path.write_text("\n".join(("/* a", " * comment */", "/* another */", "", *lines, "")), encoding="utf-8")
    return path


def test_a_row_is_read_as_the_files_say(tmp_path: Path) -> None:
    param = WorkParam("nap", "nap_ns", "ns", 5, 1, 9, "length of a nap")
    assert read_work_types(file(tmp_path, NAP, LENGTH)) == {
        "Nap": WorkFacts(1, "sleeps, and wakes", 2, 0, ("WAKES", "PIPES"), (param,), ())
    }
    switch = LENGTH.replace("NS, 5, 1, 9", "SWITCH, 1, 0, 1")
    assert read_work_types(file(tmp_path, NAP, switch))["Nap"].params[0].unit == "switch"
    count = LENGTH.replace("NS", "COUNT")
    assert read_work_types(file(tmp_path, NAP, count))["Nap"].params[0].unit == ""
    assert read_ops(file(tmp_path, WORK)) == {"Work": OpFacts(3, "works", ("WORK", "NS"), True, True)}
    assert read_ops(file(tmp_path, WORK.replace("WORK | NS, MAKES | TAKES_DOWN", "0, 0"))) == {
        "Work": OpFacts(3, "works", (), False, False)
    }
    counted = read_work_types(file(tmp_path, NAP, CREW, count, NAPPED))["Nap"]
    assert (counted.group_size, counted.group_params, counted.group([7])) == (2, 1, 9)
    assert counted.counts == (WorkCount("naps", "", "how often it slept"),)
    assert read_work_types(file(tmp_path)) == {}
    assert read_ops(file(tmp_path)) == {}


def test_any_table_is_written_as_python_that_says_the_same() -> None:
    params = tuple(WorkParam(f"k{i}", f"n{i}", "", i, 0, 9, "about it") for i in range(2))
    counts = (WorkCount("naps", "", "how often"), WorkCount("slept_ns", "ns", "how long"))
    two = WorkFacts(2, "two", 2, 1, ("WAKES", "LEADS"), params, counts)
    types = {"One": WorkFacts(1, "one", 1, 0, (), (), ()), "Two": two}
    ops = {"A": OpFacts(1, "a", (), True, False), "B": OpFacts(2, "b", ("NS",), False, True)}
    found: dict[str, object] = {}
    exec(render_work_table(types), found)
    exec(render_op_table(ops), found)
    assert (found["WORK_TYPES"], found["OPS"]) == (types, ops)


WRONG_TYPES = {
    "no row": (["NAP"], "5: found 'NAP', expected WORK_TYPE(...), WORK_GROUP(...), WORK_PARAM(...) or WORK_C"),
    "an op": ([WORK], "5: found 'OP(WORK"),
    "two lines": ([NAP[:30], NAP[30:]], "5: found 'WORK_TYPE(NAP"),
    "a space": ([f" {NAP}"], "5: found ' WORK_TYPE"),
    "a comment behind it": ([f"{NAP} /* x */"], "5: found"),
    "a lower ID": ([NAP.replace("NAP,", "nap,")], "5: found"),
    "an upper symbol": ([NAP.replace(" nap,", " Nap,")], "5: found"),
    "no number": ([NAP.replace("1,", "one,")], "5: found"),
    "below 0": ([NAP.replace("1,", "-1,")], "5: found"),
    "no about": ([NAP.replace("sleeps, and wakes", "")], "5: found"),
    "a quote": ([NAP.replace("and", "\\\"and")], "5: found"),
    "other letters": ([NAP.replace("and", "und ä")], "5: found"),
    "one argument less": ([NAP.replace(" 16,", "")], "5: found"),
    "number 0": ([NAP.replace("1, Nap", "0, Nap")], "5: found 0 as number, expected at least 1"),
    "group of 0": ([NAP.replace("Nap, 2", "Nap, 0")], " Nap: found groups without workers, expected"),
    "a flag": ([NAP.replace("WAKES", "NO")], "5: found NO | PIPES, expected 0 or some of WAKES, SLEEPS, PIPES,"),
    "a flag twice": ([NAP.replace("WAKES", "PIPES")], "5: found PIPES | PIPES, expected 0 or some of WAKES,"),
    "the ID twice": ([NAP, NAP], "6: found ID NAP twice, expected each once"),
    "the symbol twice": ([NAP, NAP.replace("NAP", "X")], "6: found symbol nap twice"),
    "the number twice": ([NAP, NAP.replace("NAP, nap, 1", "X, x, 01")], "6: found number 1 twice"),
    "the name twice": ([NAP, NAP.replace("NAP, nap, 1", "X, x, 2")], "6: found name Nap twice"),
    "the key twice": ([NAP, LENGTH, LENGTH], " Nap: found the numbers nap, nap, expected at most 16, each once"),
    "a number before its type": ([LENGTH, NAP], "5: found a row of NAP, expected it after the row of its work type"),
    "a number of another": (
        [NAP, NAP.replace("NAP, nap, 1, Nap", "X, x, 2, X"), LENGTH], "7: found a row of NAP, expected it after",
    ),
    "a unit": ([NAP, LENGTH.replace("NS", "MS")], "6: found the unit MS, expected one of NS, COUNT"),
    "a wide switch": (
        [NAP, LENGTH.replace("NS", "SWITCH")], "6: found a switch from 1 to 9, expected it from 0 to 1",
    ),
    "a count's unit": ([NAP, NAPPED.replace("COUNT,", "MS,")], "6: found the unit MS, expected one of NS, COUNT,"),
    "a count of another": ([NAPPED], "5: found a row of NAP, expected it after"),
    "a count twice": ([NAP, NAPPED, NAPPED], " Nap: found the counts naps, naps, expected at most 8, each once"),
    "a crew of no numbers": ([NAP, CREW], " Nap: found other numbers that workers are counted by, expected counts of"),
    "a crew by time": ([NAP, CREW, LENGTH], " Nap: found other numbers that workers are counted by"),
    "a large crew": ([NAP, CREW, LENGTH.replace("NS, 5, 1, 9", "COUNT, 5, 1, 1025")], " Nap: found other numbers"),
    "a crew by none": ([NAP, CREW.replace("1,", "0,")], "6: found 0 as numbers that workers are counted by"),
    "an empty crew": (
        [NAP.replace("Nap, 2", "Nap, 0"), CREW, LENGTH.replace("NS, 5, 1", "COUNT, 5, 0")], " Nap: found groups",
    ),
    "another unit": (
        [NAP, LENGTH, NAP.replace("NAP, nap, 1, Nap", "X, x, 2, X"), LENGTH.replace("NAP", "X").replace("NS", "COUNT")],
        " X: found another unit of nap than in another type",
    ),
    "a low default": ([NAP, LENGTH.replace("5", "0")], "6: found the default 0, expected 1 to 9"),
    "a high default": ([NAP, LENGTH.replace("5", "10")], "6: found the default 10, expected 1 to 9"),
}  # fmt: skip
WRONG_OPS = {
    "no row": (["// x"], "5: found '// x', expected OP(...) on one line, as the file's comment says"),
    "a work type": ([NAP], "5: found 'WORK_TYPE(NAP"),
    "a field": ([WORK.replace("NS", "NO")], "5: found WORK | NO, expected 0 or some of PAYLOAD, CGROUP, WORK"),
    "a field twice": ([WORK.replace("NS", "WORK")], "5: found WORK | WORK, expected 0 or some of"),
    "a flag": ([WORK.replace("MAKES", "NO")], "5: found NO | TAKES_DOWN, expected 0 or some of MAKES, TAKES_DOWN"),
    "number 0": ([WORK.replace("3", "0")], "5: found 0 as number, expected at least 1"),
    "the name twice": ([WORK, WORK.replace("WORK, work, 3", "X, x, 4")], "6: found name Work twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_a_wrong_row_of_a_work_type_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    lines, reason = WRONG_TYPES[name]
    path = file(tmp_path, *lines)
    with pytest.raises(InputError) as caught:
        read_work_types(path)
    assert str(caught.value).startswith(f"{path}:{reason}")


@pytest.mark.parametrize("name", WRONG_OPS)
def test_a_wrong_row_of_an_op_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    lines, reason = WRONG_OPS[name]
    path = file(tmp_path, *lines)
    with pytest.raises(InputError) as caught:
        read_ops(path)
    assert str(caught.value).startswith(f"{path}:{reason}")


def test_a_comment_that_does_not_end_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a comment that does not end"):
        read_ops(file(tmp_path, WORK, "/* more"))


def test_the_role_of_a_worker_is_by_its_place() -> None:
    def roles(*flags: str) -> list[int]:
        facts = WorkFacts(1, "one", 1, 1, flags, (WorkParam("k", "n", "", 2, 1, 9, "more"),), ())
        return [facts.role(place, [2]) for place in range(6)]

    assert roles() == [0] * 6
    assert roles("LEADS", "WAKES") == [0, 1, 1] * 2
    assert roles("UNLIKE") == [0, 1, 2] * 2


def test_of_two_numbers_that_workers_are_counted_by_the_first_says_who_lead() -> None:
    params = (WorkParam("k", "n", "", 1, 1, 9, "leaders"), WorkParam("l", "m", "", 1, 1, 9, "others"))
    facts = WorkFacts(1, "one", 0, 2, ("LEADS",), params, ())
    assert [facts.role(place, [2, 1]) for place in range(6)] == [0, 0, 1] * 2

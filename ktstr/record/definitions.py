"""Reads ``work_types.def`` and ``ops.def``, which the guest agent includes, and writes them as Python.

``python -m ktstr.record.definitions`` writes ``ktstr/record/work_table.py`` and ``op_table.py`` anew; so does a build
of the package, and a test compares. Nothing else parses the two files. What a row means is said in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

from ktstr.errors import InputError
from ktstr.record.facts import OpFacts, WorkCount, WorkFacts, WorkParam

MAX_GROUP, MAX_PARAMS, MAX_COUNTS = 1024, 16, 8  # the last two: of ktstr_program.h
WORK_FLAGS = ("WAKES", "SLEEPS", "PIPES", "LEADS", "UNLIKE", "REQUESTS", "PHASES", "SIBLINGS", "YIELDS", "PINS")
OP_FLAGS = ("MAKES", "TAKES_DOWN")
OP_FIELDS = (
    "PAYLOAD", "CGROUP", "WORK", "PHASE", "WHO", "MASK", "PATH", "FILE", "TEXT", "RESTORE", "BODY", "STEP", "COUNT",
    "NS", "INTERVAL", "JITTER",
)  # fmt: skip
_UNITS: dict[str, Literal["ns", "switch", ""]] = {"NS": "ns", "COUNT": "", "SWITCH": "switch"}
_COUNT_UNITS: dict[str, Literal["ns", "bytes", ""]] = {"NS": "ns", "COUNT": "", "BYTES": "bytes"}

_ID, _SYMBOL, _NAME = r"([A-Z][A-Z0-9_]*)", r"([a-z][a-z0-9_]*)", r"([A-Z][A-Za-z0-9]*)"
_NUMBER, _WORDS, _ABOUT = r"(\d{1,19})", r"(0|[A-Z_]+(?: \| [A-Z_]+)*)", r'"([ !#-[\]-~]+)"'


def _row(macro: str, *arguments: str) -> re.Pattern[str]:
    return re.compile(rf"{macro}\({', '.join(arguments)}\)")


_WORK_TYPE = _row("WORK_TYPE", _ID, _SYMBOL, _NUMBER, _NAME, _NUMBER, _WORDS, _NUMBER, _ABOUT)
_WORK_GROUP = _row("WORK_GROUP", _ID, _NUMBER, _NUMBER)
_WORK_COUNT = _row("WORK_COUNT", _ID, _SYMBOL, _ID, _ABOUT)
_WORK_PARAM = _row("WORK_PARAM", _ID, _SYMBOL, _SYMBOL, _ID, _NUMBER, _NUMBER, _NUMBER, _ABOUT)
_OP = _row("OP", _ID, _SYMBOL, _NUMBER, _NAME, _WORDS, _WORDS, _ABOUT)


class _Unique:
    """Names and numbers of a table, each of which may be there once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def add(self, where: str, **values: str) -> None:
        for what, value in values.items():
            if (what, value) in self._seen:
                raise InputError(f"{where}: found {what} {value} twice, expected each once")
            self._seen.add((what, value))


def read_work_types(path: Path) -> dict[str, WorkFacts]:
    """The work types by name. Raises InputError, naming file and line, for what is not as the file itself says."""
    types: dict[str, WorkFacts] = {}
    unique = _Unique()
    last = ("", "")
    for where, line in _rows(path):
        if (row := _WORK_TYPE.fullmatch(line)) is not None:
            ident, symbol, number, name, group_size, flags, _, about = row.groups()
            unique.add(where, ID=ident, symbol=symbol, number=str(int(number)), name=name)
            known = _words(where, flags, WORK_FLAGS)
            types[name] = WorkFacts(_positive(where, "number", number), about, int(group_size), 0, known, (), ())
            last = (ident, name)
            continue
        ident, add = _detail(where, line)
        if ident != last[0]:
            raise InputError(f"{where}: found a row of {ident}, expected it after the row of its work type")
        types[last[1]] = add(types[last[1]])
    for name, facts in types.items():
        _check_whole(path, name, facts)
    _check_shared_keys(path, types)
    return types


def _detail(where: str, line: str) -> tuple[str, Callable[[WorkFacts], WorkFacts]]:
    """The type that a row is of, and what the row adds to it."""
    if (row := _WORK_PARAM.fullmatch(line)) is not None:
        param = _param(where, row)
        return row[1], lambda facts: replace(facts, params=(*facts.params, param))
    if (row := _WORK_COUNT.fullmatch(line)) is not None:
        _, name, unit, about = row.groups()
        if unit not in _COUNT_UNITS:
            raise InputError(f"{where}: found the unit {unit}, expected one of {', '.join(_COUNT_UNITS)}")
        counted = WorkCount(name, _COUNT_UNITS[unit], about)
        return row[1], lambda facts: replace(facts, counts=(*facts.counts, counted))
    if (row := _WORK_GROUP.fullmatch(line)) is not None:
        params = _positive(where, "numbers that workers are counted by", row[2])
        return row[1], lambda facts: replace(facts, group_params=params)
    raise _unreadable(where, line, "WORK_TYPE(...), WORK_GROUP(...), WORK_PARAM(...) or WORK_COUNT(...)")


def _check_whole(path: Path, name: str, facts: WorkFacts) -> None:
    counted = facts.params[: facts.group_params]
    if len(counted) < facts.group_params or any(param.unit or param.high > MAX_GROUP for param in counted):
        expected = f"counts of at most {MAX_GROUP}"
        raise InputError(f"{path}: {name}: found other numbers that workers are counted by, expected {expected}")
    if facts.group_size + sum(param.low for param in counted) < 1:
        raise InputError(f"{path}: {name}: found groups without workers, expected at least 1")
    for what, names, most in (
        ("numbers", [param.key for param in facts.params], MAX_PARAMS),
        ("counts", [count.name for count in facts.counts], MAX_COUNTS),
    ):
        if len(names) > most or len(set(names)) < len(names):
            raise InputError(f"{path}: {name}: found the {what} {', '.join(names)}, expected at most {most}, each once")


def _check_shared_keys(path: Path, types: dict[str, WorkFacts]) -> None:
    units: dict[str, str] = {}
    for name, facts in types.items():
        for param in facts.params:
            if units.setdefault(param.key, param.unit) != param.unit:
                raise InputError(f"{path}: {name}: found another unit of {param.key} than in another type")


def read_ops(path: Path) -> dict[str, OpFacts]:
    """The ops by name. Raises InputError, naming file and line, for what is not as the file itself says."""
    ops: dict[str, OpFacts] = {}
    unique = _Unique()
    for where, line in _rows(path):
        row = _OP.fullmatch(line)
        if row is None:
            raise _unreadable(where, line, "OP(...)")
        ident, symbol, number, name, taken, flags, about = row.groups()
        unique.add(where, ID=ident, symbol=symbol, number=str(int(number)), name=name)
        known = _words(where, flags, OP_FLAGS)
        takes = _words(where, taken, OP_FIELDS)
        ops[name] = OpFacts(_positive(where, "number", number), about, takes, "MAKES" in known, "TAKES_DOWN" in known)
    return ops


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that are neither empty, nor in a comment, nor the preprocessor's, each with its place."""
    in_comment = False
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        in_comment = in_comment or line.startswith("/*")
        if in_comment:
            in_comment = not line.endswith("*/")
        elif line and not line.startswith("#"):
            yield f"{path}:{number}", line
    if in_comment:
        raise InputError(f"{path}: found a comment that does not end")


def _unreadable(where: str, line: str, expected: str) -> InputError:
    return InputError(f"{where}: found {line!r:.80}, expected {expected} on one line, as the file's comment says")


def _words(where: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = () if text == "0" else tuple(text.split(" | "))
    for word in words:
        if word not in known or words.count(word) > 1:
            raise InputError(f"{where}: found {text}, expected 0 or some of {', '.join(known)}, each once")
    return words


def _positive(where: str, what: str, digits: str) -> int:
    if not int(digits):
        raise InputError(f"{where}: found 0 as {what}, expected at least 1")
    return int(digits)


def _param(where: str, row: re.Match[str]) -> WorkParam:
    _, key, name, unit, default, low, high, about = row.groups()
    if unit not in _UNITS:
        raise InputError(f"{where}: found the unit {unit}, expected one of {', '.join(_UNITS)}")
    if unit == "SWITCH" and (int(low), int(high)) != (0, 1):
        raise InputError(f"{where}: found a switch from {low} to {high}, expected it from 0 to 1")
    if not int(low) <= int(default) <= int(high):
        raise InputError(f"{where}: found the default {default}, expected {low} to {high}")
    return WorkParam(key, name, _UNITS[unit], int(default), int(low), int(high), about)


def render_work_table(types: dict[str, WorkFacts]) -> str:
    """The text of ``work_table.py``."""
    lines = _head(
        "work types", "work_types.def", "WorkCount, WorkFacts, WorkParam", "from typing import Literal, TypeAlias\n\n"
    )
    lines += ["WorkType: TypeAlias = Literal[", *(f'    "{name}",' for name in types), "]", ""]
    lines += ["WORK_TYPES: dict[str, WorkFacts] = {"]
    for name, facts in types.items():
        lines += [f'    "{name}": WorkFacts(', *_arguments(facts, 8), *_details("params", facts.params)]
        lines += [*_details("counts", facts.counts), "    ),"]
    return "\n".join([*lines, "}", ""])


def render_op_table(ops: dict[str, OpFacts]) -> str:
    """The text of ``op_table.py``."""
    lines = [*_head("ops", "ops.def", "OpFacts", ""), "OPS: dict[str, OpFacts] = {"]
    for name, facts in ops.items():
        lines += [f'    "{name}": OpFacts(', *_arguments(facts, 8), "    ),"]
    return "\n".join([*lines, "}", ""])


def _head(what: str, source: str, types: str, imports: str) -> list[str]:
    return [
        f'"""The {what} of ``vmm_c/include/{source}``: made of it by ``python -m ktstr.record.definitions``.',
        "",
        "Edit that file, not this one.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        f"{imports}from ktstr.record.facts import {types}",
        "",
    ]


def _details(name: str, details: tuple[WorkParam, ...] | tuple[WorkCount, ...]) -> list[str]:
    if not details:
        return [f"        {name}=(),"]
    lines = [f"        {name}=("]
    for detail in details:
        lines += [f"            {type(detail).__name__}(", *_arguments(detail, 16), "            ),"]
    return [*lines, "        ),"]


def _arguments(facts: WorkFacts | WorkParam | WorkCount | OpFacts, indent: int) -> list[str]:
    """One line for each field but params and counts, in the style of the formatter."""
    names = [field.name for field in fields(facts) if field.name not in ("params", "counts")]
    return [f"{' ' * indent}{name}={_literal(getattr(facts, name))}," for name in names]


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def write(include: Path, record: Path) -> None:
    """Write both tables of the ``.def`` files in ``include`` to the folder ``record``.

    Raises InputError as ``read_work_types`` and ``read_ops`` do, OSError when a file cannot be read or written.
    """
    tables = {
        "work_table.py": render_work_table(read_work_types(include / "work_types.def")),
        "op_table.py": render_op_table(read_ops(include / "ops.def")),
    }
    for name, text in tables.items():
        (record / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    from ktstr.resources import c_dir

    write(c_dir() / "include", Path(__file__).parent)

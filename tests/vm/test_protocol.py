from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest

from ktstr.record import vocabulary
from ktstr.record.guest import PayloadEventKind, RetryOutcome, SchedEventKind
from ktstr.scenarios.program import OnError, Op, ScopeName
from ktstr.vm import protocol
from ktstr.vm.protocol import (
    ON_ERRORS,
    OPS,
    PAYLOAD_EVENTS,
    POLICIES,
    RETRY_OUTCOMES,
    SCHED_EVENTS,
    SCOPES,
    WORK_TYPES,
    declarations,
    ffi,
    header_paths,
    lib,
)


def test_header_is_the_one_the_agent_is_compiled_with() -> None:
    assert [path.name for path in header_paths()] == ["ktstr_program.h", "ktstr_report.h", "ktstr_proto.h"]
    assert {path.parent.name for path in header_paths()} == {"include"}


def in_order(numbers: Mapping[str, int]) -> list[str]:
    return sorted(numbers, key=numbers.__getitem__)


def test_names_are_those_of_the_program_and_the_record() -> None:
    assert in_order(WORK_TYPES) and in_order(WORK_TYPES) == list(vocabulary.WORK_TYPES)
    assert in_order(WORK_TYPES) == list(get_args(vocabulary.WorkType))
    assert in_order(POLICIES) == list(vocabulary.POLICIES) == list(get_args(vocabulary.SchedPolicy))
    assert in_order(OPS) == list(vocabulary.OPS)
    assert set(OPS) == {op.__name__ for op in get_args(Op)}
    assert set(SCHED_EVENTS.values()) == set(get_args(SchedEventKind))
    assert list(RETRY_OUTCOMES.values()) == list(get_args(RetryOutcome))
    assert list(PAYLOAD_EVENTS.values()) == list(get_args(PayloadEventKind))
    assert in_order(SCOPES) == list(get_args(ScopeName))
    assert in_order(ON_ERRORS) == list(get_args(OnError))


def test_numbers_are_those_of_the_header() -> None:
    assert OPS["AddCgroup"] == 3 and OPS["RemoveCgroups"] == 9
    assert WORK_TYPES["FutexPingPong"] == 6
    assert lib.KTSTR_MAX_CPUS == 512 and lib.KTSTR_MAX_NS == 86_400 * 10**9
    assert lib.KTSTR_FRAME_MAGIC.to_bytes(4, "little") == b"KTRF"
    assert protocol.enum_values("end") == {"OK": 0, "ERROR": 1, "SCHED_LOST": 2, "DEADLINE": 3}


def test_declarations_keep_integer_constants_and_drop_every_other_directive() -> None:
    dropped = '#ifndef A\n#define A\n#include <x.h>\n#define F(x) x\n_Static_assert(1, "");\n'
    assert declarations(dropped + "#define N 12\n#define H 0xfF\nint y;\n") == "#define N 12\n#define H 0xfF\nint y;"


STRUCTS = [
    "cpumask", "program_header", "cgroup", "work", "worker", "payload", "selector", "op", "delivery", "frame_header",
    "msg_hello", "msg_begin", "msg_cpu", "msg_cpu_lists", "msg_node", "msg_distances", "msg_sched_event",
    "msg_sched_refusal", "msg_stimulus", "msg_error",
    "msg_read", "progress", "msg_checkpoint", "msg_payload_event", "msg_payload_log", "delay", "msg_delays",
    "msg_worker", "migration", "msg_migrations", "msg_samples", "msg_pages", "msg_vcpu", "msg_end",
]  # fmt: skip


def test_every_struct_of_the_headers_is_compared() -> None:
    text = "".join(path.read_text(encoding="ascii") for path in header_paths())
    assert sorted(re.findall(r"^struct ktstr_(\w+) \{", text, re.MULTILINE)) == sorted(STRUCTS)


@pytest.fixture(scope="module")
def compiled_sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What gcc makes of each struct: its size and the offset of its last field."""
    folder: Path = tmp_path_factory.mktemp("sizes")
    lines = []
    for name in STRUCTS:
        last = ffi.typeof(f"struct ktstr_{name}").fields[-1][0]
        values = f"sizeof(struct ktstr_{name}), offsetof(struct ktstr_{name}, {last})"
        lines.append(f'printf("{name} %zu %zu\\n", {values});')
    source = folder / "sizes.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "ktstr_proto.h"\nint main(void)\n{\n'
        + "\n".join(lines)
        + "\n}\n"
    )
    binary = folder / "sizes"
    subprocess.run(["gcc", f"-I{header_paths()[0].parent}", str(source), "-o", str(binary)], check=True)
    out = subprocess.run([str(binary)], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in out.splitlines())


@pytest.mark.parametrize("name", STRUCTS)
def test_layout_is_the_compilers(compiled_sizes: dict[str, str], name: str) -> None:
    struct = f"struct ktstr_{name}"
    last = ffi.typeof(struct).fields[-1][0]
    assert compiled_sizes[name] == f"{ffi.sizeof(struct)} {ffi.offsetof(struct, last)}"

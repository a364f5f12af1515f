"""The types and the JSON Schemas of failure dumps and of the verifier's report are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from ktstr.record import dump_schema
from ktstr.record.codec import DecodeError, decode, encode
from ktstr.record.dump import FailureDump
from tests.checks.failure.dumps import ERROR, LOST_TASK, STALL
from tests.checks.failure.test_build import dumped, guest

SCHEMAS = Path(__file__).parents[2] / "schemas"
VALIDATOR = jsonschema_rs.Draft202012Validator(json.loads((SCHEMAS / "failure_dump.schema.json").read_text()))


@pytest.mark.parametrize("name", dump_schema.DOCUMENTS)
def test_the_schemas_are_those_of_the_types(name: str) -> None:
    assert (SCHEMAS / name).read_text() == dump_schema.render(name), "python -m ktstr.record.dump_schema schemas"


def document(**changes: object) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(encode(dumped(guest(**changes)))))
    return loaded


@pytest.mark.parametrize("changes", [{"sched_dump": STALL}, {"sched_log": ERROR}, {"sched_dump": LOST_TASK}, {}])
def test_a_dump_fits_its_schema_and_reads_back(changes: dict[str, object]) -> None:
    found = document(**changes)
    VALIDATOR.validate(found)
    assert encode(decode(FailureDump, found)) == encode(dumped(guest(**changes)))


@pytest.mark.parametrize(
    ("key", "value"), [("version", 2), ("stage", "lost"), ("summary", 5), ("unavailable", []), ("more", 1)]
)
def test_what_is_no_dump_is_refused_by_both(key: str, value: object) -> None:
    found = document(sched_dump=STALL) | {key: value}
    assert not VALIDATOR.is_valid(found)
    with pytest.raises(DecodeError):
        decode(FailureDump, found)


def test_every_key_is_always_written() -> None:
    assert set(document()) == set(FailureDump.__struct_fields__)

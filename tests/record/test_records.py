"""Stored records of every version of ktstr stay readable."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from msgspec import UNSET, Struct
from msgspec.structs import fields

from ktstr.record.cell import CellRecord
from ktstr.record.codec import DecodeError, decode, encode
from ktstr.results.store import load_record

# A whole record of a cell on KVM, as the first ktstr that had these fields stored it. Never recorded anew.
VERSION_1 = Path(__file__).parent / "version_1.json"


def first() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(VERSION_1.read_text())["record"]
    return record


def test_the_first_record_is_read_as_what_it_says() -> None:
    record = load_record(VERSION_1)
    assert record.guest.kernel_release == "7.2.0-cloud" and record.guest.ended
    assert record.guest.workers[0].wake_latencies_ns == (1000, 2000)
    assert record.guest.workers[0].migrations[0].to_cpu == 1
    assert [event.kind for event in record.guest.sched_events] == ["started", "attached", "detached"]
    assert record.end.kvm is not None and record.end.kvm.performance is not None
    assert (record.end.kvm.boot_ms, record.end.kvm.performance.pin) == (12.5, (4, 5))
    assert (record.host.arch, record.host.accel_reason, record.host.heap_state) == ("x86_64", "why", UNSET)


def test_what_is_read_is_written_as_it_was() -> None:
    """Fields that it lacks are null when it is written again."""
    written = json.loads(json.dumps(encode(decode(CellRecord, first()))))
    assert written != first()
    assert without_later_nulls(written, first()) == first()


def without_later_nulls(written: Any, stored: Any) -> Any:
    """What was written, without nulls under keys that the stored object does not have."""
    if isinstance(written, dict):
        kept = {key: value for key, value in written.items() if value is not None or key in stored}
        return {key: without_later_nulls(value, stored.get(key)) for key, value in kept.items()}
    if isinstance(written, list):
        return [without_later_nulls(*pair) for pair in zip(written, stored, strict=True)]
    return written


def structs_in(kind: Any, data: Any) -> Iterator[tuple[type[Struct], dict[str, Any]]]:
    """Every struct of a type, with an object that the first record has for it."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind, data
        for name, inner in get_type_hints(kind).items():
            if data.get(name) is not None:
                yield from structs_in(inner, data[name])
    elif get_origin(kind) in (Union, UnionType):
        for form in get_args(kind):
            yield from structs_in(form, data)
    elif get_origin(kind) is tuple and data:
        yield from structs_in(get_args(kind)[0], data[0])


STRUCTS = dict(structs_in(CellRecord, first()))


def test_the_first_record_has_an_object_of_every_kind() -> None:
    names = {kind.__name__ for kind in STRUCTS}
    assert names == {
        "CellRecord", "GuestRecord", "SchedEvent", "WorkerReport", "Migration", "VcpuReport", "Stimulus", "MachineEnd",
        "KvmRun", "PerformanceMode", "Host", "GuestCpu",
    }  # fmt: skip


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_field_that_older_records_lack_is_null_in_them(kind: type[Struct]) -> None:
    later = [field for field in fields(kind) if field.encode_name not in STRUCTS[kind]]
    assert all(field.default is None or field.default is UNSET for field in later)


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_field_reads_as_null_when_missing_or_is_missed(kind: type[Struct]) -> None:
    """No default makes up for what was not stored: an empty list would say that nothing happened."""
    for field in fields(kind):
        data = copy.deepcopy(STRUCTS[kind])
        data.pop(field.encode_name, None)
        if field.required:
            with pytest.raises(DecodeError, match=rf"^x\.{field.encode_name}: missing field$"):
                decode(kind, data, "x")
        else:
            assert getattr(decode(kind, data), field.name) in (None, UNSET)


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_field_nobody_knows_is_refused(kind: type[Struct]) -> None:
    """A record of a newer ktstr may mean something else by the fields this one knows."""
    with pytest.raises(DecodeError, match=r"^x\.brand_new: unknown field$"):
        decode(kind, {**STRUCTS[kind], "brand_new": 1}, "x")

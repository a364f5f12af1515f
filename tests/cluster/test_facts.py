"""Why no cell is run on a worker: each fault by name, with what was expected."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ktstr.cluster.facts import Span, WorkerFacts, facts_here, ktstr_version, unfit
from ktstr.record.codec import ready
from tests.cluster.made import facts

SPAN = Span(999.0, 1001.0)
FIT = replace(facts(), python=".".join(map(str, sys.version_info[:3])))


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"version": "0.0.1+abc"}, f"has ktstr 0.0.1+abc, expected {ktstr_version()}, the asker's"),
        ({"python": "3.9.1"}, f"runs Python 3.9.1, expected {sys.version_info[0]}.{sys.version_info[1]}, the asker's"),
        ({"arch": "aarch64"}, "is a aarch64, expected x86_64, as guests are"),
        ({"unix_s": 1061.0}, "has a clock that is 60 s ahead"),
        ({"unix_s": 900.0}, "has a clock that is 99 s behind"),
        ({"free_bytes": 1 << 29}, "has 0.5 GiB left for its cache /cache, expected 1"),
        ({"free_bytes": None, "cache_fault": "Read-only file system"},
         "cannot write to its cache /cache: Read-only file system"),
    ],
)  # fmt: skip
def test_each_fault_of_a_worker_is_named(changed: dict[str, object], fault: str) -> None:
    (found,) = unfit(replace(FIT, **changed), SPAN)  # type: ignore[arg-type]
    assert found.what == fault and found.fix


def test_a_worker_without_a_fault_is_fit_and_a_slow_answer_is_none() -> None:
    assert unfit(FIT, SPAN) == ()
    assert unfit(replace(FIT, unix_s=950.0), Span(900.0, 1000.0)) == ()  # it answered somewhen within these 100 s


def test_this_host_as_a_worker_survives_the_journey(tmp_path: Path) -> None:
    here = facts_here({"KTSTR_CACHE_DIR": str(tmp_path), "KTSTR_LOCK_DIR": str(tmp_path)}, ("a" * 64,))
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(here), type=ready(WorkerFacts))
    assert sent == here and here.finished == ("a" * 64,)
    assert here.free_bytes and here.cache_fault is None and here.capacity.cpus >= 1


def test_a_cache_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    here = facts_here({"KTSTR_CACHE_DIR": str(tmp_path / "file")})
    assert here.free_bytes is None and here.cache_fault == "Not a directory"

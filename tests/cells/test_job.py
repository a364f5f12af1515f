"""A job and what came of it are values: they survive being bytes, whole and alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.cells.job import ArtifactRef, ArtifactStore, CellResult, JobError, decode_job, decode_result
from ktstr.cells.measure import job_of
from ktstr.config.topology import Topology
from ktstr.errors import HostError, InputError
from ktstr.host.cache import Cache
from tests.cells.plans import cell, plan
from tests.results.cells import cell as record


def test_a_job_is_the_same_after_it_was_bytes(tmp_path: Path) -> None:
    job = job_of(plan(tmp_path), cell(tmp_path))
    far = replace(job, topology=Topology(2, 2, 1, 1, ((10, 31), (31, 10))), kernel_args=("a=b",), commit="abc1234")
    for one in (job, far):
        assert decode_job(one.encode()) == one


def test_a_result_with_a_record_is_the_same_after_it_was_bytes() -> None:
    result = CellResult("t/p/k/s/icount-s0", "c" * 64, record=record(input_digest="c" * 64))
    assert decode_result(result.encode()) == result


@pytest.mark.parametrize("kind", [HostError, InputError])
def test_an_error_comes_back_as_what_it_was(kind: type[HostError | InputError]) -> None:
    before = kind("what is wrong", fix="what helps")
    result = CellResult("n", "d" * 64, error=JobError(before.message, before.fix, before.exit_code))
    after = decode_result(result.encode())
    assert after.error is not None
    error = after.error.error()
    assert (type(error), str(error)) == (kind, str(before))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_job_are_refused(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, msgspec.ValidationError)):
        decode_job(data)


def test_artifacts_are_found_where_this_host_keeps_them(tmp_path: Path) -> None:
    store = ArtifactStore(Cache(tmp_path / "cache"), Cache(tmp_path / "unstored"))
    kernel, image = ArtifactRef("kernels", "6.14-x", "a" * 64), ArtifactRef("images", "b" * 64, "b" * 64)
    assert store.path(kernel) == tmp_path / "cache/kernels/6.14-x/vmlinux"
    assert store.path(replace(kernel, stored=False)) == tmp_path / "unstored/kernels/6.14-x/vmlinux"
    assert store.path(image) == tmp_path / "cache/images" / ("b" * 64) / "image.cpio"
    with pytest.raises(ValueError, match="no cache key"):
        store.path(replace(kernel, key="../../etc"))

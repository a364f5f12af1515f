"""When a submission is given up: no result is had twice, and none is lost silently."""

from __future__ import annotations

from ktstr.cluster.dispatch import Dispatch

A, B, C = "tcp://a:1", "tcp://b:1", "tcp://c:1"


def test_a_job_that_runs_where_it_was_sent_goes_on() -> None:
    dispatch = Dispatch("t", frozenset({A, B}))
    dispatch.announced("started", A)
    assert dispatch.given_up(0) is None
    dispatch.announced("measured", A)
    assert dispatch.given_up(0) is None and dispatch.changed.is_set()


def test_dask_runs_it_again_where_the_first_worker_was_lost_before_it_measured() -> None:
    dispatch = Dispatch("t", frozenset({A, B, C}))
    dispatch.announced("started", A)
    dispatch.worker_lost(A)
    assert dispatch.given_up(0) is None
    dispatch.announced("started", B)
    assert dispatch.given_up(0) is None


def test_a_job_is_given_up_with_the_second_worker_that_is_lost_while_it_runs() -> None:
    dispatch = Dispatch("t", frozenset({A, B, C}))
    for address in (A, B):
        dispatch.announced("started", address)
        dispatch.worker_lost(address)
    assert (dispatch.given_up(0), dispatch.runs_lost()) == (B, [A, B])


def test_runs_that_earlier_submissions_lost_count() -> None:
    dispatch = Dispatch("t", frozenset({B, C}))
    dispatch.announced("started", B)
    assert dispatch.given_up(1) is None
    dispatch.worker_lost(B)
    assert dispatch.given_up(1) == B


def test_what_was_measured_is_not_measured_again() -> None:
    dispatch = Dispatch("t", frozenset({A, B}))
    dispatch.announced("started", A)
    dispatch.announced("measured", A)
    dispatch.announced("started", B)  # Dask lost the result with its worker
    assert dispatch.given_up(0) == A


def test_a_result_is_waited_for_no_longer_once_its_worker_is_lost() -> None:
    dispatch = Dispatch("t", frozenset({A, B}))
    dispatch.announced("started", A)
    dispatch.announced("measured", A)
    dispatch.worker_lost(A)
    assert dispatch.given_up(0) == A


def test_a_job_for_one_worker_alone_is_given_up_with_it() -> None:
    dispatch = Dispatch("t", frozenset({A}))
    dispatch.worker_lost(B)
    assert dispatch.given_up(0) is None
    dispatch.worker_lost(A)
    assert dispatch.given_up(0) == A


def test_a_worker_that_was_never_asked_is_no_loss() -> None:
    dispatch = Dispatch("t", frozenset({A}))
    dispatch.announced("started", A)
    dispatch.worker_lost(C)
    assert dispatch.lost == set() and dispatch.given_up(1) is None

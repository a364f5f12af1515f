from __future__ import annotations

from msgspec.structs import replace

from ktstr.record.guest import SILENT, GuestRecord, Migration, Stimulus
from ktstr.stats.perf.divergence import Event, events, first_divergence
from tests.results.cells import cell

MS = 1_000_000


def guest(*moves: Migration, release: int = 5 * MS, stop: int = 300 * MS) -> GuestRecord:
    """A guest whose first worker moved so; times from its release."""
    whole = cell().guest
    stimuli = tuple(
        Stimulus(op=op, at_ns=at, detail="", total_iterations=0)
        for op, at in (("Spawn", release - 1), ("Release", release), ("StopWorkers", release + stop))
    )
    worker = replace(whole.workers[0], migrations=moves)
    return replace(whole, stimuli=stimuli, sched_events=(), workers=(worker,))


def test_events_begin_with_the_release_and_are_in_order_of_time() -> None:
    found = events(guest(Migration(2 * MS, 0, 1)))
    assert [event.at_ns for event in found] == [0, 2 * MS, 300 * MS]
    assert found[1] == Event(2 * MS, "worker 0 moves from CPU 0 to 1")


def test_the_first_difference_is_named_with_both_sides() -> None:
    a, b = guest(Migration(2 * MS, 0, 1)), guest(Migration(2 * MS, 0, 1), Migration(4 * MS, 1, 0))
    found = first_divergence("cell", a, b)
    assert found is not None
    assert (found.at_ms, found.b) == (4.0, "4.000 ms: worker 0 moves from CPU 1 to 0")
    assert found.a.startswith("300.000 ms: StopWorkers")
    assert first_divergence("cell", b, b) is None


def test_loading_later_is_no_difference_of_scheduling() -> None:
    move = Migration(2 * MS, 0, 1)
    assert first_divergence("cell", guest(move), guest(move, release=50 * MS)) is None


def test_a_guest_that_released_no_worker_diverges_nowhere() -> None:
    assert first_divergence("cell", SILENT, guest()) is None
    assert first_divergence("cell", guest(), SILENT) is None

"""Which cells a budget chooses."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ktstr.planning.budget import Budget, Candidate, choose


def cell(words: str, seconds: float = 1.0, machine: str = "", boot: float = 0.0) -> Candidate:
    return Candidate(frozenset(words.split()), seconds, machine or words, boot)


def test_what_covers_most_per_second_is_chosen_first() -> None:
    cells = [cell("a", 1), cell("a b c", 2), cell("d", 1), cell("a b c d", 10)]
    assert choose(cells, 2).chosen == (1,)
    assert choose(cells, 3).chosen == (1, 2)


def test_when_all_is_covered_pairs_that_were_not_seen_together_come_next() -> None:
    cells = [cell("a x"), cell("b y"), cell("a x", machine="again"), cell("a y")]
    assert choose(cells, 3).chosen == (0, 1, 3)


def test_a_machine_is_booted_once() -> None:
    cells = [cell("a x", 1, "m", 10), cell("a y", 1, "n", 10), cell("a z", 1, "m", 10)]
    made = choose(cells, 12)
    assert made.chosen == (0, 2)
    assert made.seconds == 12


def test_of_equals_the_first_is_chosen() -> None:
    assert choose([cell("a x"), cell("a y"), cell("a z")], 1).chosen == (0,)


def test_of_those_that_cover_the_same_the_cheapest() -> None:
    assert choose([cell("a", 3, "m"), cell("a", 2, "m")], 3).chosen == (1,)


def test_the_line_that_is_printed() -> None:
    made = Budget(tuple(range(42)), 1200, 294.6, 300, 38, 38)
    assert made.line == "budget: 42 of 1200 cells, 295 of 300 s, 38 of 38 features covered"


def test_nothing_is_chosen_that_takes_too_long() -> None:
    made = choose([cell("a", 5), cell("b", 6)], 4)
    assert (made.chosen, made.seconds, made.features, made.all_features) == ((), 0, 0, 2)


CELLS = st.lists(
    st.builds(
        Candidate,
        st.frozensets(st.sampled_from("abcdefgh"), min_size=1),
        st.integers(1, 20).map(float),
        st.sampled_from("mnop"),
        st.just(0.0),
    ),
    max_size=12,
).map(lambda cells: [replace(one, boot_seconds=float(ord(one.machine) % 7)) for one in cells])


def cost(cells: list[Candidate], chosen: tuple[int, ...]) -> float:
    machines = {cells[index].machine: cells[index].boot_seconds for index in chosen}
    return sum(cells[index].seconds for index in chosen) + sum(machines.values())


@given(CELLS, st.integers(0, 80).map(float))
def test_the_choice_fits_and_leaves_no_cell_that_would(cells: list[Candidate], limit: float) -> None:
    made = choose(cells, limit)
    assert list(made.chosen) == sorted(set(made.chosen))
    assert made.seconds == cost(cells, made.chosen) <= limit
    for index in set(range(len(cells))) - set(made.chosen):
        assert cost(cells, (*made.chosen, index)) > limit
    covered = frozenset[str]().union(*(cells[index].features for index in made.chosen))
    assert made.features == len(covered)


@given(CELLS)
def test_with_time_for_all_all_are_chosen(cells: list[Candidate]) -> None:
    everything = tuple(range(len(cells)))
    assert choose(cells, cost(cells, everything)).chosen == everything


@given(CELLS, st.integers(0, 80).map(float))
def test_a_better_cell_of_all_alone_is_never_missed(cells: list[Candidate], limit: float) -> None:
    """The first choice is the best there is: no cell that fits has more features per second."""
    fitting = [one for one in cells if one.seconds + one.boot_seconds <= limit]
    made = choose(cells, limit)
    assert bool(made.chosen) == bool(fitting)
    if fitting:
        best = max(len(one.features) / (one.seconds + one.boot_seconds) for one in fitting)
        rates = [len(cells[i].features) / (cells[i].seconds + cells[i].boot_seconds) for i in made.chosen]
        assert any(abs(rate - best) < 1e-9 for rate in rates)

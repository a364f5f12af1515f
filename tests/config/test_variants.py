from __future__ import annotations

import pytest

from ktstr.config.model import TestDecl
from tests.config.declarations import HEAD, mistake, read, told


def variants(body: str) -> dict[str, TestDecl]:
    return read(f"{HEAD}tests:\n  t:\n{body}").tests


def test_a_test_for_each_combination_in_order() -> None:
    made = variants("""
    cgroups: [{name: a, workers: 1}, b]
    matrix:
      duration: [1s, 2s]
      cgroups[0].workers: {few: 2, many: 8}
""")
    assert list(made) == ["t.1s.few", "t.1s.many", "t.2s.few", "t.2s.many"]
    assert [(t.duration_ns // 10**9, t.cgroups[0].works[0].workers) for t in made.values()] == [
        (1, 2),
        (1, 8),
        (2, 2),
        (2, 8),
    ]
    assert [t.name for t in made.values()] == list(made)
    assert {t.where for t in made.values()} == {"ktstr.yaml:6:5"}


@pytest.mark.parametrize(
    ("matrix", "names"),
    [
        ("duration: [1.5s]", ["t.1.5s"]),
        ("demo: [true, false]", ["t.true", "t.false"]),
        ("'cgroups[0].cpu.max': [25%, max]", ["t.25-", "t.max"]),
        ("'cgroups[0].memory.swap.max': [64M]", ["t.64M"]),
        ("'cgroups[0].nice': [-5, 5]", ["t.-5", "t.5"]),
        ("'cgroups[0].cpuset': {one: {llc: 0}, all: {range: [0, 1]}}", ["t.one", "t.all"]),
        ("checks.max_gap_ms: [100]", ["t.100"]),
        ("sysctls.kernel.sched_schedstats: [0, 1]", ["t.0", "t.1"]),
        ("cgroups: {one: [a], two: [a, b]}", ["t.one", "t.two"]),
    ],
)
def test_paths_and_labels(matrix: str, names: list[str]) -> None:
    assert list(variants(f"    cgroups: [{{name: a}}]\n    matrix: {{{matrix}}}\n")) == names


def test_values_are_put_where_their_path_says() -> None:
    test = variants("""
    cgroups: [a, {name: b, cpuset: {llc: 0}}]
    matrix:
      cgroups[0].cpu.max: [25%]
      cgroups[1].cpuset.llc: [1]
      checks.max_gap_ms: [100]
      sysctls.kernel.sched_schedstats: [1]
""")["t.25-.1.100.1"]
    assert test.cgroups[0].controls == (("cpu.max", "25000 100000"),)
    assert test.cgroups[1].cpuset is not None and test.cgroups[1].cpuset.args == (1,)
    assert (test.checks, test.sysctls) == ({"max_gap_ms": 100}, (("kernel.sched_schedstats", "1"),))


def test_fields_of_steps_are_reached_too() -> None:
    made = variants("""
    backdrop: {cgroups: [a]}
    steps: [{ops: [{op: set, cgroup: a, cpu.weight: 1}]}]
    matrix: {'steps[0].ops[0].cpu.weight': [10, 20], 'steps[0].hold': [0.5]}
""")
    assert list(made) == ["t.10.0.5", "t.20.0.5"]
    assert made["t.20.0.5"].steps[0].hold.fraction == 0.5


def test_a_matrix_may_be_used_and_matrices_meet_the_variants_by_the_test_s_name() -> None:
    config = read(f"""{HEAD}
define: {{base: {{matrix: {{duration: [1s, 2s]}}, cgroups: [a]}}}}
tests: {{t: {{use: base}}}}
matrices: {{m: {{tests: t, presets: tiny-1llc}}}}
""")
    assert list(config.tests) == ["t.1s", "t.2s"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("^[a]", "matrix: found a list, expected a mapping of values by the path of a field"),
        ("^{}", "matrix: found an empty mapping, expected at least one field"),
        ("{duration: ^1s}",
         "matrix.duration: found '1s', expected a list of values, or a mapping of values by name"),
        ("{duration: ^[]}",
         "matrix.duration: found an empty one, expected a list of values, or a mapping of values by name"),
        ("{duration: [1s, ^{}]}",
         "matrix.duration[1]: found a mapping, expected a scalar, which names itself; a mapping names values that are"
         " none"),
        ("{duration: [1s, ^null]}",
         "matrix.duration[1]: found nothing, expected a scalar, which names itself; a mapping names values that are"
         " none"),
        ("{'cgroups[0].comm': [a b, ^a-b]}",
         "matrix.cgroups[0].comm[1]: found 'a-b', expected values of different names; this one is 'a-b' too"),
        ("{^'cgroups[2].nice': [1]}",
         "matrix.cgroups[2].nice: found 'cgroups[2].nice', expected an index of cgroups below 1"),
        ("{^'duration.x': [1]}",
         "matrix.duration.x: found 'duration.x', expected the path of a field: '1s' has no x"),
        ("{^'works[0].nice': [1]}",
         "matrix.works[0].nice: found 'works[0].nice', expected the path of a field that is there: works is not"),
        ("{^'cgroups.x': [1]}",
         "matrix.cgroups.x: found 'cgroups.x', expected the path of a field: a list has no x"),
        ("{^'duration[0]': [1]}",
         "matrix.duration[0]: found 'duration[0]', expected the path of a field: '1s' has no [0]"),
        ("{^'cgroups[': [1]}",
         "matrix.cgroups[: found 'cgroups[', expected the path of a field, such as duration or cgroups[0].workers"),
        ("{^matrix.x: [1]}", "matrix.matrix.x: found 'matrix.x', expected a field of the test other than matrix"),
        ("^{'cgroups[0].comm': {a b: x}}",
         "matrix: found 't.a b', expected names of tests, each a name of up to 64 letters, digits, '_', '.' and '-'"),
        ("^{duration: [1s.x, 1s], description: [y, x.y]}",
         "matrix: found 't.1s.x.y' twice, expected a name of its own for each combination"),
        ("^{captures: [" + ", ".join(map(str, range(33))) + "], seed: [" + ", ".join(map(str, range(33))) + "]}",
         "matrix: found 1089 combinations, expected at most 1024"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_matrix(matrix: str, expected: str) -> None:
    found, place = mistake(f"duration: 1s\ncgroups: [{{name: a}}]\nmatrix: {matrix}")
    assert found == f"{place}tests.t.{expected}"


def test_a_mistake_in_a_value_is_told_where_it_was_written() -> None:
    found, place = mistake("cgroups: [{name: a}]\nmatrix: {duration: {short: 1s, long: ^2}}")
    assert found == (
        f"{place}tests.t.long.duration: found 2, expected a duration with its unit, such as 2s, 500ms or 100us,"
        " nearest match '2s'"
    )
    found, place = mistake("cgroups: [{name: a}]\nmatrix: {^duratoin: [1s]}")
    assert found.startswith(f"{place}tests.t.1s.duratoin: found 'duratoin', expected one of description, duration,")


def test_a_variant_may_not_have_the_name_of_another_test() -> None:
    found, place = told(f"{HEAD}tests:\n  t: {{cgroups: [a], matrix: ^{{duration: [1s]}}}}\n  t.1s: {{cgroups: [a]}}\n")
    assert found == f"{place}tests.t.matrix: found 't.1s', expected names that no other test has"

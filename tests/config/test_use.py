from __future__ import annotations

import pytest

from ktstr.config.scenario import Work
from tests.config.declarations import errors, read, told

KERNELS = "kernels: {k: deb:forky/cloud-amd64}\n"


def text(define: str, tests: str) -> str:
    return f"{KERNELS}define: {define}\ntests: {tests}\n"


def works(define: str, cgroup: str) -> tuple[Work, ...]:
    return read(text(define, f"{{t: {{cgroups: [{cgroup}]}}}}")).tests["t"].cgroups[0].works


def test_the_keys_of_what_is_used_come_under_the_mapping_s_own() -> None:
    assert works("{hog: {workers: 4, nice: 3}}", "{name: a, use: hog, workers: 1}") == (Work(workers=1, nice=3),)


def test_of_several_the_first_wins() -> None:
    made = works("{a: {workers: 4}, b: {workers: 5, nice: 1}}", "{name: x, use: [a, b]}")
    assert made == (Work(workers=4, nice=1),)


def test_what_is_defined_may_use_others_wherever_they_are_defined() -> None:
    assert works("{a: {use: b, nice: 2}, b: {use: c, workers: 3}, c: {workers: 9, policy: batch}}",
                 "{name: x, use: a}") == (Work(workers=3, nice=2, policy="batch"),)  # fmt: skip


def test_nested_mappings_are_replaced_and_not_merged() -> None:
    define = "{base: {checks: {isolation: true, max_gap_ms: 5}, duration: 1s}}"
    test = read(text(define, "{t: {use: base, cgroups: [a], checks: {max_gap_ms: 9}}}")).tests["t"]
    assert (test.checks, test.duration_ns) == ({"max_gap_ms": 9}, 1_000_000_000)


def test_it_is_taken_at_every_depth_and_in_payloads_and_schedulers() -> None:
    config = read(f"""{KERNELS}
define:
  envs: {{A: b}}
  program: {{path: ./x, env: {{use: envs, C: d}}}}
  freeze: {{op: freeze, cgroup: a}}
  loop: {{every: 100ms}}
  gaps: {{max_gap_ms: 5}}
payloads: {{p: {{use: program}}}}
schedulers: {{s: {{use: program}}}}
tests:
  t:
    checks: {{use: gaps}}
    backdrop: {{cgroups: [a]}}
    steps: [{{ops: [{{use: freeze}}], hold: {{use: loop}}}}]
  use: {{cgroups: [a]}}
""")
    assert config.payloads["p"].env == config.schedulers["s"].env == (("C", "d"), ("A", "b"))
    test = config.tests["t"]
    assert (len(test.steps[0].ops), test.steps[0].hold.ns, test.checks) == (1, 100_000_000, {"max_gap_ms": 5})
    assert "use" in config.tests  # a name like any other


def test_a_mistake_in_what_is_used_is_told_where_it_was_written() -> None:
    found, place = told(text("{hog: {^wrokers: 4}}", "{t: {cgroups: [{name: a, use: hog}]}}"))
    assert found.startswith(f"{place}tests.t.cgroups[0].wrokers: found 'wrokers', expected one of name, cpuset,")
    found, place = told(text("{hog: {workers: ^x}}", "{t: {cgroups: [{name: a, use: hog}]}}"))
    assert found == f"{place}tests.t.cgroups[0].workers: found 'x', expected a whole number from 0 to 1024"


@pytest.mark.parametrize(
    ("define", "used", "expected"),
    [
        ("{hog: {}}", "{t: {cgroups: [{name: a, use: ^hgo}]}}",
         "tests.t.cgroups[0].use: found 'hgo', expected a mapping of define (hog), nearest match 'hog'"),
        ("{hog: {}}", "{t: {cgroups: [{name: a, use: [hog, ^burst]}]}}",
         "tests.t.cgroups[0].use[1]: found 'burst', expected a mapping of define (hog)"),
        ("{hog: {}}", "{t: {cgroups: [{name: a, use: ^[]}]}}",
         "tests.t.cgroups[0].use: found an empty list, expected the name of a mapping of define, or a list of such"
         " names"),
        ("{hog: {}}", "{t: {cgroups: [{name: a, use: ^{}}]}}",
         "tests.t.cgroups[0].use: found a mapping, expected the name of a mapping of define, or a list of such names"),
        ("{a: {use: b}, b: {use: ^a}}", "{t: {cgroups: [{name: a}]}}",
         "define.b.use: found 'a' (a -> b -> a), expected a mapping that does not use itself"),
        ("{a: {x: {use: ^a}}}", "{t: {cgroups: [{name: a}]}}",
         "define.a.x.use: found 'a' (a -> a), expected a mapping that does not use itself"),
        ("{a: ^3}", "{t: {cgroups: [{name: a}]}}", "define.a: found 3, expected a mapping"),
        ("^[a]", "{t: {cgroups: [{name: a}]}}", "define: found a list, expected a mapping of mappings by name"),
        ("{^a b: {}}", "{t: {cgroups: [{name: a}]}}",
         "define: found 'a b', expected a name of up to 64 letters, digits, '_', '.' and '-'"),
    ],
)  # fmt: skip
def test_a_mistake_in_use(define: str, used: str, expected: str) -> None:
    found, place = told(text(define, used))
    assert found == f"{place}{expected}"


def test_a_small_file_cannot_unfold_into_a_large_document() -> None:
    rows = ["a0: {x: 1}", *(f"a{i}: {{l: {{use: a{i - 1}}}, r: {{use: a{i - 1}}}}}" for i in range(1, 31))]
    found, _ = told(f"{KERNELS}define: ^{{{', '.join(rows)}}}\ntests: {{t: {{cgroups: [a]}}}}\n")
    assert "define.a18: found what use unfolds into" in found and found.endswith("expected at most 400000 values")


def test_a_long_chain_is_refused_before_it_is_too_deep() -> None:
    rows = [f"a{i}: {{use: a{i + 1}}}" for i in range(500)]
    found = errors(f"{KERNELS}define: {{{', '.join(rows)}, a500: {{}}}}\ntests: {{t: {{cgroups: [a]}}}}\n")[0]
    assert found.endswith("define.a31.use: found one more, expected at most 32 mappings that use one another")

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.model import PayloadCheck, PayloadDecl, PayloadMetric
from tests.config.declarations import read, told

TESTS = "tests: {t: {cgroups: [a]}}\n"


def payload(written: str) -> PayloadDecl:
    return read(f"{TESTS}payloads:\n  p: {{{written}}}\n").payloads["p"]


def test_a_payload_without_more_than_it_needs() -> None:
    made = payload("path: ./bench")
    assert made == PayloadDecl("p", Path("/p/bench"), base=Path("/p"))
    assert (made.output, made.exit_code, made.where) == ("exit_code", 0, "ktstr.yaml:3:6")


def test_every_key_of_a_payload() -> None:
    made = payload(
        "path: ../bin/bench, args: [--fast, 3], env: {A: b}, files: [data/, ./x], output: json,"
        " metrics: {run.iops: {polarity: higher, unit: 1/s}, lat: {polarity: {target: 5}}, n: {}},"
        " checks: {exit_code: 3, exists: [run.iops], min: {run.iops: 100}, max: {lat: 5.5}, range: {load: [0.5, 1.5]}}"
    )
    assert made == PayloadDecl(
        "p",
        Path("/bin/bench"),
        ("--fast", "3"),
        (("A", "b"),),
        ("data", "x"),
        Path("/p"),
        "json",
        (PayloadMetric("run.iops", "higher", "1/s"), PayloadMetric("lat", "target", "", 5.0), PayloadMetric("n")),
        (
            PayloadCheck("run.iops"),
            PayloadCheck("run.iops", low=100),
            PayloadCheck("lat", high=5.5),
            PayloadCheck("load", 0.5, 1.5),
        ),
        3,
    )


def test_an_installed_program_and_the_numbers_of_a_text() -> None:
    made = payload(
        "program: fio, install: apt-get install fio, output: text,"
        " metrics: {a: {match: 'a (\\d+)', pick: max}, b: {match: '(b)'}}"
    )
    assert (made.path, made.install) == (Path("fio"), "apt-get install fio")
    assert made.metrics == (PayloadMetric("a", match="a (\\d+)", pick="max"), PayloadMetric("b", match="(b)"))


def test_any_exit_code_may_be_right() -> None:
    assert payload("path: ./bench, checks: {exit_code: any}").exit_code is None


METRIC = "the dotted path of a metric, such as run.iops"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("^{args: [x]}", ".path: found nothing, expected the program, relative to this file; or program"),
        ("{path: x, ^program: y}", ".program: found 'program', expected path or program, not both"),
        ("{path: x, ^install: y}", ".install: found 'install', expected install only beside program"),
        ("{program: ^a/b}", ".program: found 'a/b', expected a name of up to 64 letters, digits, '_', '.' and '-'"),
        ("{path: x, output: text, metrics: {a: ^{}}}",
         ".metrics.a.match: found nothing, expected the regular expression that finds it in the text"),
        ("{path: x, output: text, metrics: {a: {match: ^'b'}}}",
         ".metrics.a.match: found 'b', expected one group, which is the number"),
        ("{path: x, output: text, metrics: {a: {match: ^'(b'}}}",
         ".metrics.a.match: found '(b', expected a regular expression of Python's re module: missing ), unterminated"
         " subpattern at position 0"),
        ("{path: x, output: json, metrics: {a: {^match: '(b)'}}}",
         ".metrics.a.match: found 'match', expected match only of output: text"),
        ("{path: x, output: json, metrics: {a: {^pick: max}}}",
         ".metrics.a.pick: found 'pick', expected pick only of output: text"),
        ("{path: x, ^arg: [x]}",
         ".arg: found 'arg', expected one of path, program, install, args, env, files, output, metrics,"
         " checks, nearest match 'args'"),
        ("{path: x, args: ^[" + ", ".join(["a"] * 64) + "]}", ".args: found 64 arguments, expected at most 63"),
        ("{path: x, args: ^[" + "a" * 7680 + "]}", ".args: found 7681 bytes, expected at most 7680"),
        ("{path: x, env: ^{" + ", ".join(f"A{i}: b" for i in range(65)) + "}}",
         ".env: found 65 variables, expected at most 64"),
        ("{path: x, files: ^/etc}", ".files: found '/etc', expected a path inside this file's folder"),
        ("{path: x, output: ^yaml}", ".output: found 'yaml', expected one of exit_code, json, text"),
        ("{path: x, ^metrics: {a: {}}}",
         ".metrics: found 'metrics', expected metrics only beside output: json or text"),
        ("{path: x, checks: {^min: {a: 1}}}",
         ".checks.min: found 'min', expected min only beside output: json or text"),
        ("{path: x, checks: {exit_code: ^256}}",
         ".checks.exit_code: found 256, expected a whole number from 0 to 255"),
        ("{path: x, checks: {exit_code: ^none}}",
         ".checks.exit_code: found 'none', expected a whole number from 0 to 255, or any"),
        ("{path: x, output: json, metrics: ^[a]}",
         ".metrics: found a list, expected a mapping by the dotted paths of metrics"),
        ("{path: x, output: json, metrics: {^a b: {}}}", f".metrics: found 'a b', expected {METRIC}"),
        ("{path: x, output: json, metrics: {a: {polarity: ^best}}}",
         ".metrics.a.polarity: found 'best', expected one of higher, lower, unknown"),
        ("{path: x, output: json, metrics: {a: {polarity: {^traget: 1, target: 2}}}}",
         ".metrics.a.polarity.traget: found 'traget', expected one of target, nearest match 'target'"),
        ("{path: x, output: json, checks: {exists: [^a b]}}", f".checks.exists[0]: found 'a b', expected {METRIC}"),
        ("{path: x, output: json, checks: {min: {a: ^x}}}",
         ".checks.min.a: found 'x', expected a finite number"),
        ("{path: x, output: json, checks: {min: {a: 2}, max: {a: ^1}}}",
         ".checks.max.a: found 1, expected at least the min of it (2)"),
        ("{path: x, output: json, checks: {range: {a: ^[1]}}}",
         ".checks.range.a: found a list of 1, expected [least, greatest], two numbers"),
        ("{path: x, output: json, checks: {range: {a: [2, ^1]}}}",
         ".checks.range.a[1]: found 1, expected at least the least (2)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_payload(written: str, expected: str) -> None:
    found, place = told(f"{TESTS}payloads:\n  p: {written}\n")
    assert found == f"{place}payloads.p{expected}"

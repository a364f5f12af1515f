from __future__ import annotations

import pytest

from tests.config.declarations import mistake, test_of


def controls(written: str) -> tuple[tuple[str, str], ...]:
    return test_of(f"cgroups: [{{name: a, cpuset: {{llc: 0}}, {written}}}]").cgroups[0].controls


@pytest.mark.parametrize(
    ("written", "file", "text"),
    [
        ("cpu.max: 25%", "cpu.max", "25000 100000"),
        ("cpu.max: 150%", "cpu.max", "150000 100000"),
        ("cpu.max: 12.5%", "cpu.max", "12500 100000"),
        ("cpu.max: 1%", "cpu.max", "1000 100000"),
        ("cpu.max: 25000 50000", "cpu.max", "25000 50000"),
        ("cpu.max: max 20000", "cpu.max", "max 20000"),
        ("cpu.max: max", "cpu.max", "max 100000"),
        ("cpu.max.burst: 10ms", "cpu.max.burst", "10000"),
        ("cpu.max.burst: 0s", "cpu.max.burst", "0"),
        ("cpu.weight: 200", "cpu.weight", "200"),
        ("cpu.weight.nice: -5", "cpu.weight.nice", "-5"),
        ("cpu.idle: true", "cpu.idle", "1"),
        ("cpu.idle: false", "cpu.idle", "0"),
        ("cpu.uclamp.min: 20%", "cpu.uclamp.min", "20.00"),
        ("cpu.uclamp.max: 80.5%", "cpu.uclamp.max", "80.50"),
        ("cpu.uclamp.max: max", "cpu.uclamp.max", "max"),
        ("cpuset.cpus.partition: isolated", "cpuset.cpus.partition", "isolated"),
        ("memory.min: 4096", "memory.min", "4096"),
        ("memory.low: 1K", "memory.low", "1024"),
        ("memory.high: 64M", "memory.high", "67108864"),
        ("memory.max: 2G", "memory.max", "2147483648"),
        ("memory.swap.max: max", "memory.swap.max", "max"),
        ("io.weight: 100", "io.weight", "default 100"),
        ("pids.max: 20", "pids.max", "20"),
        ("pids.max: max", "pids.max", "max"),
    ],
)
def test_a_control_is_written_in_the_kernel_s_words(written: str, file: str, text: str) -> None:
    assert controls(written) == ((file, text),)


def test_they_are_written_in_the_order_of_the_table() -> None:
    written = "pids.max: 5, cpu.max.burst: 1ms, memory.max: 1M, cpu.max: 50%"
    assert [file for file, _ in controls(written)] == ["cpu.max", "cpu.max.burst", "memory.max", "pids.max"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("cpu.max: ^25",
         "cpu.max: found 25, expected a percentage of one CPU such as 25%, 'QUOTA PERIOD' in microseconds, or max,"
         " nearest match '25%'"),
        ("cpu.max: ^half",
         "cpu.max: found 'half', expected a percentage of one CPU such as 25%, 'QUOTA PERIOD' in microseconds, or max"),
        ("cpu.max: ^0.5%", "cpu.max: found '0.5%', expected at least 1%, or max"),
        ("cpu.max: ^9999 2000000",
         "cpu.max: found '9999 2000000', expected a period from 1000 to 1000000 microseconds"),
        ("cpu.max: ^0999 100000", "cpu.max: found '0999 100000', expected a quota of at least 1000 microseconds"),
        ("cpu.max.burst: ^10",
         "cpu.max.burst: found 10, expected a duration with its unit, such as 2s, 500ms or 100us, nearest match '10us'"
         ),
        ("cpu.max.burst: ^1500ns",
         "cpu.max.burst: found '1500ns', expected a whole number of microseconds"),
        ("cpu.max: 10%, cpu.max.burst: ^11ms",
         "cpu.max.burst: found '11ms', expected at most the quota of cpu.max (10000us)"),
        ("cpu.weight: ^0", "cpu.weight: found 0, expected a whole number from 1 to 10000"),
        ("cpu.weight.nice: ^20", "cpu.weight.nice: found 20, expected a whole number from -20 to 19"),
        ("cpu.weight: 1, ^cpu.weight.nice: 1",
         "cpu.weight.nice: found 'cpu.weight.nice', expected one of cpu.weight and cpu.weight.nice, which are the same"
         ),
        ("^cpu.weight: 1, cpu.idle: true",
         "cpu.weight: found 'cpu.weight', expected no weight beside cpu.idle: true"),
        ("cpu.idle: ^1", "cpu.idle: found 1, expected true or false"),
        ("cpu.uclamp.min: ^20", "cpu.uclamp.min: found 20, expected a percentage from 0% to 100%, or max,"
         " nearest match '20%'"),
        ("cpu.uclamp.min: ^101%", "cpu.uclamp.min: found '101%', expected a percentage from 0% to 100%, or max"),
        ("cpuset.cpus.partition: ^rot",
         "cpuset.cpus.partition: found 'rot', expected one of member, root, isolated, nearest match 'root'"),
        ("memory.max: ^64 MB",
         "memory.max: found '64 MB', expected bytes such as 64M (K, M, G or T: powers of 1024), or max"),
        ("memory.max: ^99999999T",
         "memory.max: found '99999999T', expected bytes such as 64M (K, M, G or T: powers of 1024), or max"),
        ("io.weight: ^10001", "io.weight: found 10001, expected a whole number from 1 to 10000"),
        ("pids.max: ^0", "pids.max: found 0, expected a whole number from 1 to 4194304, or max"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_control(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, cpuset: {{llc: 0}}, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"


def test_an_unknown_control_is_told_with_the_nearest_one() -> None:
    found, place = mistake("cgroups: [{name: a, ^cpu.wieght: 1}]")
    assert found.startswith(f"{place}tests.t.cgroups[0].cpu.wieght: found 'cpu.wieght', expected one of name, cpuset,")
    assert found.endswith("nearest match 'cpu.weight'")


def test_a_partition_needs_cpus_of_its_own() -> None:
    found, place = mistake("cgroups: [{name: a, cpuset.cpus.partition: ^root}]")
    assert found == f"{place}tests.t.cgroups[0].cpuset.cpus.partition: found 'root', expected a cpuset beside it"

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.config import yaml_lines
from ktstr.config.load import load, parse, validate
from ktstr.config.model import Binary, Builtin, Config, KernelDecl, Matrix, SchedulerDecl, Source
from ktstr.config.problems import Problem
from ktstr.config.scenario import Affinity, Cgroup, Cpuset, Work
from ktstr.config.topology import Topology
from ktstr.errors import HostError, InputError
from ktstr.record.vocabulary import WORK_TYPES

HEAD = "kernels: {k: deb:forky/cloud-amd64}\n"
TEST = "tests:\n  t:\n    cgroups: [{name: a}]\n"
REPOSITORY = Path(__file__).parents[2]


def read(text: str) -> Config:
    return parse(text.encode(), Path("/p/ktstr.yaml"))


def errors(text: str) -> list[str]:
    with pytest.raises(InputError) as err:
        read(text)
    assert err.value.exit_code == 2
    return str(err.value).splitlines()


def one_cgroup(body: str) -> Cgroup:
    return read(HEAD + "tests:\n  t:\n    cgroups:\n      - " + body + "\n").tests["t"].cgroups[0]


def cgroup_errors(body: str) -> list[str]:
    return errors(HEAD + "tests:\n  t:\n    cgroups:\n      - " + body + "\n")


def test_the_repository_s_own_file_loads() -> None:
    config = load(REPOSITORY / "ktstr.yaml")
    assert config.kernels["default"] == KernelDecl("default", "deb:forky/cloud-amd64")
    assert config.schedulers["scx_ktstr_stall"].args == ("--stall-after", "0", "--timeout-ms", "500")
    assert config.schedulers["scx_ktstr"].kind == Source(REPOSITORY / "schedulers/scx_ktstr")
    assert config.presets["numa2-tiny"] == Topology(2, 2, 2, 1, ((10, 31), (31, 10)))
    assert len([t for t in config.tests.values() if t.demo]) == 2


def test_a_file_without_more_than_it_needs() -> None:
    config = read(HEAD + TEST)
    test = config.tests["t"]
    assert test.cgroups == (Cgroup("a", (Work("SpinWait", 2),)),)
    assert (test.duration_ns, test.memory_mib, test.checks, test.demo) == (2_000_000_000, None, {}, False)
    assert config.schedulers == {"eevdf": SchedulerDecl("eevdf", Builtin("eevdf"))}
    assert config.presets["odd-7llc"] == Topology(1, 7, 2, 1)
    assert len(config.presets) == 24
    assert config.matrices == ()


def test_every_field_of_a_test() -> None:
    text = (
        HEAD
        + """
tests:
  full:
    description: all of it
    duration: 1500ms
    memory_mib: 512
    kargs: [quirk=1]
    sysctls: {kernel.sched_schedstats: 1, kernel.panic: '0'}
    checks: {isolation: true, max_gap_ms: 500, max_spread_pct: 12.5}
    constraints: {min_cpus: 2, max_cpus: 8, min_llcs: 1, max_llcs: 4, max_numa_nodes: 2, requires_smt: true}
    scheduler_args: [-v, 3]
    demo: true
    cgroups:
      - name: one
        cpuset: {overlap: [0, 2, 0.5]}
        expect_cpuset: {llc: 0}
        works:
          - {work: Bursty, workers: 3, burst: 10ms, policy: rr, priority: 7}
          - {work: PipeIo, workers: 4, nice: -5, affinity: [3, 0-1]}
"""
    )
    test = read(text).tests["full"]
    assert test.duration_ns == 1_500_000_000
    assert (test.memory_mib, test.kargs, test.scheduler_args) == (512, ("quirk=1",), ("-v", "3"))
    assert test.sysctls == (("kernel.sched_schedstats", "1"), ("kernel.panic", "0"))
    assert test.checks == {"isolation": True, "max_gap_ms": 500, "max_spread_pct": 12.5}
    assert (test.min_cpus, test.max_cpus, test.max_llcs, test.max_numa_nodes, test.requires_smt) == (2, 8, 4, 2, True)
    assert test.demo and test.description == "all of it"
    assert test.where == "ktstr.yaml:5:5"
    cgroup = test.cgroups[0]
    assert cgroup.cpuset == Cpuset("overlap", (0, 2, 0.5))
    assert cgroup.cpuset is not None and cgroup.cpuset.where == "ktstr.yaml:16:17 tests.full.cgroups[0].cpuset"
    assert cgroup.expect_cpuset == Cpuset("llc", (0,))
    bursty = Work("Bursty", 3, (("burst_ns", 10_000_000), ("sleep_ns", 100_000_000)), "rr", 7)
    affinity = Affinity("cpuset", (Cpuset("exact", (0, 1, 3)),))
    pipe = Work("PipeIo", 4, (("burst_iters", 1024),), nice=-5, affinity=affinity)
    assert cgroup.works == (bursty, pipe)


@pytest.mark.parametrize(
    ("written", "cpuset"),
    [
        ("{llc: 0}", Cpuset("llc", (0,))),
        ("{numa: 1}", Cpuset("numa", (1,))),
        ("{range: [0.0, 0.5]}", Cpuset("range", (0.0, 0.5))),
        ("{disjoint: [0, 2]}", Cpuset("disjoint", (0, 2))),
        ("{overlap: [1, 2, 0.25]}", Cpuset("overlap", (1, 2, 0.25))),
        ("{exact: [5, 0-3]}", Cpuset("exact", (0, 1, 2, 3, 5))),
        ('{exact: "0-3,5"}', Cpuset("exact", (0, 1, 2, 3, 5))),
        ("{exact: 3}", Cpuset("exact", (3,))),
    ],
)
def test_cpuset_forms(written: str, cpuset: Cpuset) -> None:
    assert one_cgroup(f"{{name: a, cpuset: {written}}}").cpuset == cpuset


def test_kernels_and_schedulers_are_relative_to_the_file() -> None:
    text = """
kernels: {a: ./vmlinux, b: {spec: ../k/bzImage, kargs: [quirk]}, 6.10: 6.10, c: /boot/vmlinuz}
schedulers:
  mine: {path: build/scx_mine, args: [-s, 20], attach_timeout: 3s, kargs: [x=1], sysctls: {kernel.a: 1}}
  eevdf: {checks: {max_gap_ms: 100}}
"""
    config = read(text + TEST)
    assert [k.spec for k in config.kernels.values()] == ["/p/vmlinux", "/k/bzImage", "6.10", "/boot/vmlinuz"]
    assert config.kernels["b"].kargs == ("quirk",)
    mine = config.schedulers["mine"]
    assert mine.kind == Binary(Path("/p/build/scx_mine"))
    assert (mine.args, mine.attach_timeout_ns, mine.sysctls) == (("-s", "20"), 3_000_000_000, (("kernel.a", "1"),))
    assert config.schedulers["eevdf"] == SchedulerDecl("eevdf", Builtin("eevdf"), checks={"max_gap_ms": 100})


def test_files_and_environment_of_a_scheduler() -> None:
    text = """
schedulers:
  one: {path: scx, files: conf/layers.json}
  mine: {path: scx, files: [./a, conf/../b, a], env: {RUST_LOG: scx_mine=debug, N: 2, EMPTY: ""}}
"""
    config = read(HEAD + TEST + text)
    assert (config.schedulers["one"].files, config.schedulers["one"].base) == (("conf/layers.json",), Path("/p"))
    mine = config.schedulers["mine"]
    assert mine.files == ("a", "b")
    assert mine.env == (("RUST_LOG", "scx_mine=debug"), ("N", "2"), ("EMPTY", ""))


def test_matrices_with_seeds_and_points() -> None:
    text = """
matrices:
  m:
    tests: [t]
    presets: tiny-1llc
    seeds: [0, 5..7, 6]
    include: [{test: t, preset: smt-2llc, seed: 9}]
    exclude: [{preset: 'tiny-*'}]
"""
    assert read(HEAD + TEST + text).matrices == (
        Matrix("m", ("t",), ("tiny-1llc",), (), (), (0, 5, 6, 7),
               ({"test": "t", "preset": "smt-2llc", "seed": 9},), ({"preset": "tiny-*"},)),
    )  # fmt: skip


def test_aliases_share_values() -> None:
    text = HEAD + "tests:\n  a: {cgroups: &c [{name: x}]}\n  b: {cgroups: *c}\n"
    config = read(text)
    assert config.tests["a"].cgroups == config.tests["b"].cgroups


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "kernel: {k: x}\n" + HEAD + TEST,
            "ktstr.yaml:1:1 kernel: found 'kernel', expected one of include, define, kernels, schedulers, presets,"
            " payloads, tests, matrices, cluster, nearest match 'kernels'",
        ),
        (
            HEAD + "tests:\n  t:\n    duraton: 2s\n    cgroups: [{name: a}]\n",
            "ktstr.yaml:4:5 tests.t.duraton: found 'duraton', expected one of description, duration, cgroups,"
            " payloads, steps, backdrop, workers_per_cgroup, cpu_controller, settle, cleanup_budget, topology, matrix,"
            " offline, isolcpus, nohz_full, rcu_nocbs, irqaffinity, host_only, include_files,"
            " performance_mode, memory_mib, kargs, sysctls, checks, temporal, captures, constraints, scheduler_args,"
            " scheduler_ops, category, demo, perf_delta, expect, compare, nearest match"
            " 'duration'",
        ),
        (
            HEAD + "tests:\n  t:\n    duration: 2\n    cgroups: [{name: a}]\n",
            "ktstr.yaml:4:15 tests.t.duration: found 2, expected a duration with its unit, such as 2s, 500ms or 100us,"
            " nearest match '2s'",
        ),
        (
            HEAD + "tests:\n  t:\n    duration: 0s\n    cgroups: [{name: a}]\n",
            "ktstr.yaml:4:15 tests.t.duration: found '0s', expected from 1ms to 3600s",
        ),
        (HEAD + "tests:\n  t: {}\n",
         "ktstr.yaml:3:6 tests.t.cgroups: found nothing, expected the cgroups and their workers, or steps"),
        (HEAD + "tests:\n  t:\n    cgroups: []\n",
         "ktstr.yaml:4:14 tests.t.cgroups: found an empty list, expected a list of cgroups"),
        (HEAD + "tests: [a]\n", "ktstr.yaml:2:8 tests: found a list, expected a mapping of tests by name"),
        (HEAD + "tests: {}\n", "ktstr.yaml:2:8 tests: found an empty mapping, expected at least one of the tests"),
        (HEAD + TEST + "    checks: {max_gapms: 1}\n",
         "ktstr.yaml:5:14 tests.t.checks.max_gapms: found 'max_gapms', expected one of not_starved, isolation,"
         " max_gap_ms,"
         " max_spread_pct, max_throughput_cv, min_work_rate, max_p99_wake_latency_ns, max_wake_latency_cv,"
         " max_p99_request_latency_ns,"
         " min_iteration_rate, max_migration_ratio, min_throughput, min_utilisation_pct, max_bandwidth_error_pct,"
         " max_weight_error_pct, max_throttled_pct, max_imbalance_ratio, max_local_dsq_depth, fail_on_stall,"
         " sustained_samples, max_fallback_rate, max_keep_last_rate, max_wait_ms, max_idle_wait_ms, affinity,"
         " one_queue, vtime_forward, min_cgroup_share, max_dsq_growth, max_callback_us, no_kernel_warning,"
         " min_page_locality, max_cross_node_migration_ratio, max_slow_tier_ratio, nearest match 'max_gap_ms'"),
        (HEAD + TEST + "    checks: {isolation: yes}\n",
         "ktstr.yaml:5:25 tests.t.checks.isolation: found 'yes', expected true or false, nearest match 'true'"),
        (HEAD + TEST + "    checks: {max_gap_ms: 1.5}\n",
         "ktstr.yaml:5:26 tests.t.checks.max_gap_ms: found 1.5, expected a whole number of at least 0"),
        (HEAD + TEST + "    checks: {max_spread_pct: 101}\n",
         "ktstr.yaml:5:30 tests.t.checks.max_spread_pct: found 101, expected a number from 0 to 100"),
        (HEAD + TEST + "    checks: {max_spread_pct: .nan}\n",
         "ktstr.yaml:5:30 tests.t.checks.max_spread_pct: found .nan, expected a number from 0 to 100"),
        (HEAD + TEST + "    constraints: {min_cpus: 8, max_cpus: 4}\n",
         "ktstr.yaml:5:42 tests.t.constraints.max_cpus: found 4, expected at least min_cpus (8)"),
        (HEAD + TEST + "    kargs: [init=/bin/sh]\n",
         "ktstr.yaml:5:13 tests.t.kargs[0]: found 'init=/bin/sh', expected an argument that ktstr does not set itself"
         " (--, console, debug, init, initrd, kaslr, ktstr.cgroup, ktstr.park, ktstr.wait, loglevel, nokaslr, panic,"
         " quiet, rdinit, reboot)"),
        (HEAD + TEST + "    kargs: ['a b']\n",
         "ktstr.yaml:5:13 tests.t.kargs[0]: found 'a b', expected one kernel argument, without spaces or quotes"),
        (HEAD + TEST + "    sysctls: {'kernel.x y': 1}\n",
         "ktstr.yaml:5:15 tests.t.sysctls: found 'kernel.x y', expected a dotted name, such as"
         " kernel.sched_schedstats"),
        (HEAD + TEST + "    memory_mib: 1_024\n",
         "ktstr.yaml:5:17 tests.t.memory_mib: found '1_024', expected a whole number from 128 to 1048576,"
         " nearest match '1024'"),
        (HEAD + TEST + "presets:\n  bad: 2n3l2c1t\n",
         "ktstr.yaml:6:8 presets.bad: found '2n3l2c1t', expected a possible machine: 3 LLCs cannot be dealt evenly to"
         " 2 NUMA nodes; expected LLCs to be a multiple of nodes"),
        (HEAD + TEST + "presets:\n  bad: 1n64l64c2t\n",
         "ktstr.yaml:6:8 presets.bad: found '1n64l64c2t', expected a possible machine: 8192 CPUs, expected at most"
         " 512"),
        (HEAD + TEST + "presets:\n  bad: 4 cpus\n",
         "ktstr.yaml:6:8 presets.bad: found '4 cpus', expected NODESnLLCSlCOREScTHREADSt, such as 2n4l4c1t"),
        (HEAD + TEST + "presets:\n  tiny-1llc: 1n1l1c1t\n",
         "ktstr.yaml:6:14 presets.tiny-1llc: found the name of 1n1l4c1t, expected a name that no built-in preset has"),
        (HEAD + TEST + "presets:\n  bad: {topology: 2n2l1c1t, distances: [[10, 20], [30, 10]]}\n",
         "ktstr.yaml:6:40 presets.bad.distances: found a matrix of 2 rows, expected possible distances:"
         " distances 0->1 and 1->0 differ"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, source: b}\n",
         "ktstr.yaml:6:6 schedulers.s: found path and source, expected exactly one of builtin, path, source, crate,"
         " tree, build and discover"),
        (HEAD + TEST + "schedulers:\n  s: {}\n",
         "ktstr.yaml:6:6 schedulers.s: found none, expected exactly one of builtin, path, source, crate,"
         " tree, build and discover"),
        *((HEAD + TEST + f"schedulers:\n  s: {{crate: {text}}}\n",
           f"ktstr.yaml:6:14 schedulers.s.crate: found {found}, expected a crate's name and its version in full,"
           " such as scx_lavd@1.1.4")
          for text, found in (("scx_lavd", "'scx_lavd'"), ("scx_lavd@1.1", "'scx_lavd@1.1'"),
                              ("scx_lavd@^1.1.4", "'scx_lavd@^1.1.4'"), ("scx_lavd@01.1.4", "'scx_lavd@01.1.4'"),
                              ("../lavd@1.1.4", "'../lavd@1.1.4'"), ("--git@1.1.4", "'--git@1.1.4'"),
                              ("scx lavd@1.1.4", "'scx lavd@1.1.4'"), ("1.1", "1.1"), ("[a@1.1.4]", "a list"))),
        (HEAD + TEST + "schedulers:\n  s: {crate: a@1.1.4, features: [b, 'c d']}\n",
         "ktstr.yaml:6:37 schedulers.s.features[1]: found 'c d', expected a feature's name: letters, digits, '_', '-',"
         " '+' and '.'"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, features: [b]}\n",
         "ktstr.yaml:6:16 schedulers.s.features: found 'features', expected features only beside crate"),
        (HEAD + TEST + "schedulers:\n  s: {builtin: cfs}\n",
         "ktstr.yaml:6:16 schedulers.s.builtin: found 'cfs', expected one of eevdf"),
        (HEAD + TEST + "schedulers:\n  eevdf: {path: a}\n",
         "ktstr.yaml:6:11 schedulers.eevdf.path: found 'path', expected another name: eevdf is the kernel's own"
         " scheduler"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, files: [b, ../c]}\n",
         "ktstr.yaml:6:27 schedulers.s.files[1]: found '../c', expected a path inside this file's folder"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, files: /etc/passwd}\n",
         "ktstr.yaml:6:23 schedulers.s.files: found '/etc/passwd', expected a path inside this file's folder"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, env: {a b: c}}\n",
         "ktstr.yaml:6:22 schedulers.s.env: found 'a b', expected a variable's name, such as RUST_LOG"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, env: {A: [1]}}\n",
         "ktstr.yaml:6:25 schedulers.s.env.A: found a list, expected one line of text"),
        (HEAD + TEST + "schedulers:\n  s: {path: a, env: {LD_LIBRARY_PATH: /x}}\n",
         "ktstr.yaml:6:22 schedulers.s.env.LD_LIBRARY_PATH: found 'LD_LIBRARY_PATH', expected a variable that ktstr"
         " does not set itself"),
        (HEAD + TEST + "schedulers:\n  eevdf: {env: {A: b}}\n",
         "ktstr.yaml:6:11 schedulers.eevdf.env: found 'env', expected no env for eevdf, which runs no binary"),
        ("kernels: {k: }\n" + TEST,
         "ktstr.yaml:1:14 kernels.k: found nothing, expected a kernel spec, such as deb:forky/cloud-amd64,"
         " or a mapping with spec"),
        ("kernels: {'a b': x}\n" + TEST,
         "ktstr.yaml:1:11 kernels: found 'a b', expected a name of up to 64 letters, digits, '_', '.' and '-'"),
        ("", "ktstr.yaml:1:1 (document): found nothing, expected a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_line_column_and_what_was_meant(text: str, expected: str) -> None:
    assert errors(text)[0] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{name: a, work: ^SpinWat}",
         f"work: found 'SpinWat', expected one of {', '.join(WORK_TYPES)}, Custom, nearest match 'SpinWait'"),
        ("{name: a, work: ^CpuSpin}",
         f"work: found 'CpuSpin', expected one of {', '.join(WORK_TYPES)}, Custom, nearest match 'SpinWait'"),
        ("{name: a, work: ^Unheard}", f"work: found 'Unheard', expected one of {', '.join(WORK_TYPES)}, Custom"),
        ("{name: a, ^burst: 5ms}",
         "burst: found 'burst', expected a parameter of SpinWait (it has none)"),
        ("{name: a, work: PipeIo, ^spin_iters: 5}",
         "spin_iters: found 'spin_iters', expected a parameter of PipeIo (burst_iters)"),
        ("{name: a, work: PipeIo, workers: ^3}",
         "workers: found 3, expected a multiple of 2 for PipeIo"),
        ("{name: a, workers: ^-1}", "workers: found -1, expected a whole number from 0 to 1024"),
        ("{name: a, works: [{workers: ^0}]}", "works[0].workers: found 0, expected a whole number from 1 to 1024"),
        ("{name: a, nice: ^20}", "nice: found 20, expected a whole number from -20 to 19"),
        ("{name: a, ^priority: 5}",
         "priority: found 'priority', expected no priority for policy normal"
         " (only fifo and rr have one)"),
        ("{name: a, policy: fifo, ^nice: 1}",
         "nice: found 'nice', expected no nice value for policy fifo"),
        ("{name: a, policy: fifo, priority: ^99}",
         "priority: found 99, expected a whole number from 1 to 98"),
        ("{name: a, ^workers: 2, works: [{}]}",
         "workers: found 'workers', expected no keys of one work beside works"),
        ("{name: ^../x}",
         "name: found '../x', expected a name of up to 64 letters, digits, '_', '.' and '-', or up to 8 of them"
         " joined by '/'"),
        ("{name: ^cgroup.procs}",
         "name: found 'cgroup.procs', expected a name that does not begin with 'cgroup.'"),
        ("^{workers: 1}", "name: found nothing, expected the cgroup's name, or its path: a/b"),
        ("{name: a, cpuset: {^lcc: 0}}",
         "cpuset.lcc: found 'lcc', expected one of llc, numa, range, disjoint, overlap,"
         " exact, except, nearest match 'llc'"),
        ("{name: a, cpuset: ^{llc: 0, numa: 0}}",
         "cpuset: found 2 keys, expected exactly one of llc, numa, range, disjoint,"
         " overlap, exact, except"),
        ("{name: a, cpuset: ^0-3}",
         "cpuset: found '0-3', expected a mapping with one of llc, numa, range, disjoint,"
         " overlap, exact, except"),
        ("{name: a, cpuset: {llc: ^-1}}",
         "cpuset.llc: found -1, expected a whole number of at least 0"),
        ("{name: a, cpuset: {range: [0.5, ^0.5]}}",
         "cpuset.range[1]: found 0.5, expected an end after the start (0.5)"),
        ("{name: a, cpuset: {range: [0, ^2]}}",
         "cpuset.range[1]: found 2, expected a number from 0 to 1"),
        ("{name: a, cpuset: {disjoint: [^2, 2]}}",
         "cpuset.disjoint[0]: found 2, expected an index below the number of parts (2)"),
        ("{name: a, cpuset: {overlap: ^[0, 2]}}",
         "cpuset.overlap: found a list of 2, expected [index, of, fraction]"),
        ("{name: a, cpuset: {exact: ^3-1}}",
         "cpuset.exact: found '3-1', expected a CPU list whose ranges go up, such as 1-3"),
        ("{name: a, affinity: ^[]}", "affinity: found an empty list, expected a CPU list, such as 0-3,5"),
        ("{name: a, affinity: [0, ^x]}", "affinity[1]: found 'x', expected a CPU list, such as 0-3,5"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_cgroup(body: str, expected: str) -> None:
    column = len("      - ") + body.index("^") + 1
    (told,) = cgroup_errors(body.replace("^", ""))
    assert told == f"ktstr.yaml:5:{column} tests.t.cgroups[0].{expected}"


def test_two_cgroups_of_one_name() -> None:
    assert errors(HEAD + "tests:\n  t:\n    cgroups: [{name: a}, {name: a}]\n") == [
        "ktstr.yaml:4:33 tests.t.cgroups[1].name: found 'a', expected each cgroup name once in a test"
    ]


def test_more_workers_than_the_agent_takes() -> None:
    rows = ", ".join(f"{{name: c{i}, workers: 1024}}" for i in range(5))
    assert errors(HEAD + f"tests:\n  t:\n    cgroups: [{rows}]\n") == [
        "ktstr.yaml:4:14 tests.t.cgroups: found 5120 workers, expected at most 4096"
    ]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("tests", "[tt]",
         "ktstr.yaml:7:13 matrices.m.tests[0]: found 'tt', expected one of the tests (t, cgroup_steady), nearest match"
         " 't'"),
        ("tests", "cgroup_stedy",
         "ktstr.yaml:7:12 matrices.m.tests: found 'cgroup_stedy', expected one of the tests (t, cgroup_steady),"
         " nearest match 'cgroup_steady'"),
        ("kernels", "[kk]",
         "ktstr.yaml:7:15 matrices.m.kernels[0]: found 'kk', expected one of the kernels (k), nearest match 'k'"),
        ("schedulers", "[eedvf]",
         "ktstr.yaml:7:18 matrices.m.schedulers[0]: found 'eedvf', expected one of the schedulers (eevdf), nearest"
         " match 'eevdf'"),
        ("presets", "['tinny-*']",
         "ktstr.yaml:7:15 matrices.m.presets[0]: found 'tinny-*', expected one of the presets (tiny-1llc, tiny-2llc,"
         " odd-3llc,"
         " odd-5llc, odd-7llc, smt-2llc, smt-3llc, medium-4llc, medium-8llc, large-4llc, large-8llc, near-max-llc,"
         " ...)"),
        ("seeds", "3..1", "ktstr.yaml:7:12 matrices.m.seeds: found '3..1', expected seeds that go up, such as 1..3"),
        ("include", "[{test: nosuch}]",
         "ktstr.yaml:7:22 matrices.m.include[0].test: found 'nosuch', expected one of the tests (t, cgroup_steady)"),
        ("exclude", "[{}]",
         "ktstr.yaml:7:15 matrices.m.exclude[0]: found an empty mapping, expected at least one of test, preset, kernel,"
         " scheduler, seed"),
    ],
)  # fmt: skip
def test_a_name_nobody_declared_in_a_matrix(field: str, value: str, expected: str) -> None:
    fields = {"tests": "t", "presets": "tiny-1llc"} | {field: value}
    body = "".join(f"    {key}: {written}\n" for key, written in sorted(fields.items(), key=lambda f: f[0] != field))
    tests = "tests:\n  t: {cgroups: [{name: a}]}\n  cgroup_steady: {cgroups: [{name: a}]}\n"
    assert errors(HEAD + tests + "matrices:\n  m:\n" + body) == [expected]


def test_mistakes_come_together_by_line_and_the_first_ten_are_spelled_out() -> None:
    text = HEAD + TEST + "    demo: 1\n    memory_mib: 1\n" + "".join(f"bad{i}: 1\n" for i in range(20))
    told = errors(text)
    assert len(told) == 11
    assert [line.split(" ")[0] for line in told[:3]] == ["ktstr.yaml:5:11", "ktstr.yaml:6:17", "ktstr.yaml:7:1"]
    assert told[-1] == "ktstr.yaml: and 12 more"


def test_a_kernel_that_is_itself_wrong_is_told_once() -> None:
    text = "kernels: {k: []}\n" + TEST + "matrices: {m: {tests: t, presets: tiny-1llc, kernels: k}}\n"
    assert [line.split(":")[3] for line in errors(text)] == [" found a list, expected a kernel spec, such as deb"]


def test_a_missing_file_is_the_users_and_an_unreadable_one_the_machines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ktstr\.yaml: found no file, expected the declarations\n  fix: ktstr init"):
        load(tmp_path / "ktstr.yaml")
    with pytest.raises(InputError, match="found a folder"):
        load(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(HostError, match="cannot be read"):
        load(tmp_path / "loop")


def test_a_validated_file_needs_no_jsonschema() -> None:
    code = (
        "import sys; from pathlib import Path; from ktstr.config.load import load\n"
        f"load(Path({str(REPOSITORY / 'ktstr.yaml')!r}), validated=True)\n"
        "print([m for m in ('jsonschema', 'requests', 'pandas', 'rich', 'doit') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_schema_is_asked_unless_the_caller_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def ask(root: yaml_lines.Node) -> list[Problem]:
        asked.append(root)
        return []

    monkeypatch.setattr("ktstr.config.load.validate", ask)
    parse((HEAD + TEST).encode(), Path("ktstr.yaml"), validated=True)
    assert asked == []
    parse((HEAD + TEST).encode(), Path("ktstr.yaml"))
    assert len(asked) == 1


def test_what_only_the_schema_finds_has_its_place_too() -> None:
    root = yaml_lines.read(b"kernels: {k: x}\ntests:\n  t:\n    demo: 3\n    cgroups: [{name: a}]\n", "ktstr.yaml")
    (problem,) = validate(root)
    assert problem[:3] == (4, 11, "tests.t.demo")
    assert problem.expected == "3 is not of type 'boolean'"


BASE = (REPOSITORY / "ktstr.yaml").read_text()
TOKENS = [
    "1",
    "0",
    "-1",
    "true",
    "null",
    "[]",
    "{}",
    "x",
    "2s",
    "1.5",
    "[0, 2]",
    "a b",
    "eevdf",
    "''",
    "{llc: 0}",
    "*",
    "0-3",
]


@settings(max_examples=300)
@given(st.data())
def test_what_loads_satisfies_the_schema(data: st.DataObject) -> None:
    """Values and keys of the repository's file are exchanged at random: typing is at least as strict."""
    lines = BASE.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "value", "key", "inner"]))
        key, colon, _ = lines[i].partition(": ")
        if kind == "drop":
            lines[i] = ""
        elif kind == "value" and colon:
            lines[i] = f"{key}: {data.draw(st.sampled_from(TOKENS))}"
        elif kind == "key" and colon:
            lines[i] = lines[i].replace(key.strip(" -"), data.draw(st.sampled_from(["work", "burst", "name", "zz"])), 1)
        elif kind == "inner":
            old = data.draw(st.sampled_from(["8", "4", "2", "true", "1s", "SpinWait", "PipeIo", "Bursty", "llc", "0"]))
            lines[i] = lines[i].replace(old, data.draw(st.sampled_from(TOKENS)), 1)
    text = "\n".join(lines).encode()
    try:
        parse(text, Path("ktstr.yaml"), validated=True)
    except InputError as err:
        assert all(line.startswith("ktstr.yaml:") for line in str(err).splitlines())
    else:
        assert validate(yaml_lines.read(text, "ktstr.yaml")) == []

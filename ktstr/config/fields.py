"""Every field of ktstr.yaml, once: the loader, the JSON Schema and the docs are made from these tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.cpulist import MAX_CPUS
from ktstr.record.vocabulary import EXIT_KINDS, MS, S

Kind: TypeAlias = Literal[
    "text", "word", "spec", "bool", "int", "number", "duration", "choice", "name", "label",
    "texts", "kargs", "sysctls", "env", "path", "paths", "globs", "writes", "cgroup", "regex", "crate", "features",
    "patterns", "seeds", "cpu_list", "metric", "temporal", "choices", "cgroup_path", "nodes", "comm", "cpu_max", "us",
    "switch", "clamp", "size", "limit", "pair", "count", "node",
]  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field: its kind, bounds (inclusive; nanoseconds for a duration) and one line about it.

    ``shape`` names the schema definition of a ``node``, which the loader reads by hand.
    """

    kind: Kind
    about: str
    low: float = 0
    high: float = 2**63 - 1
    choices: tuple[str, ...] = ()
    required: bool = False
    shape: str = ""


Table: TypeAlias = dict[str, Field]

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
DURATION_PATTERN = r"[0-9]{1,9}(\.[0-9]{1,9})?(ns|us|ms|s|m)"
LABEL_PATTERN = r"[1-9][0-9]{0,3}n[1-9][0-9]{0,3}l[1-9][0-9]{0,3}c[1-9][0-9]{0,3}t"
SEEDS_PATTERN = r"[0-9]{1,20}(\.\.[0-9]{1,20})?"
SYSCTL_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}"
ENV_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
# What the registry takes for a name; a version in full, as semver.org has it; a feature of a Cargo.toml.
CRATE_NAME_PATTERN = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_NUMBER = r"(0|[1-9][0-9]{0,8})"
_PRE_RELEASE = r"-[0-9A-Za-z-]{1,32}(\.[0-9A-Za-z-]{1,32}){0,7}"
_BUILD = r"\+[0-9A-Za-z-]{1,32}(\.[0-9A-Za-z-]{1,32}){0,7}"
CRATE_VERSION_PATTERN = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}({_PRE_RELEASE})?({_BUILD})?"
CRATE_PATTERN = f"{CRATE_NAME_PATTERN}@{CRATE_VERSION_PATTERN}"
FEATURE_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_+.-]{0,63}"
LINE_PATTERN = r"[^\x00-\x1f\x7f]{0,1024}"
# A file of the kernel's in the guest; a cgroup below the root.
WRITE_PATTERN = r"/(proc|sys)(/[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127}){1,32}"
CGROUP_PATTERN = r"(/[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}){1,4}"
WORD_PATTERN = r"[^\s\"'\x00-\x1f\x7f]{1,256}"

MAX_REGEX = 512

# Kernel arguments that ktstr itself sets, or that would take its console or its init away.
RESERVED_KARGS = frozenset(
    {
        "init",
        "rdinit",
        "initrd",
        "console",
        "nokaslr",
        "kaslr",
        "loglevel",
        "quiet",
        "debug",
        "reboot",
        "panic",
        "ktstr.wait",
        "ktstr.park",
        "ktstr.cgroup",
        "--",
    }
)

# Variables of a scheduler's environment that ktstr itself sets.
RESERVED_ENV = frozenset({"LD_LIBRARY_PATH"})


CHECKS: Table = {
    "not_starved": Field("bool", "no worker without work; turns on the spread and gap checks (true)"),
    "isolation": Field("bool", "workers run only on the CPUs of their cgroup's cpuset (or expect_cpuset)"),
    "max_gap_ms": Field(
        "int", "longest time a worker did not get on, blocking on purpose left out (3000; release: 2000)"
    ),
    "max_spread_pct": Field(
        "number", "largest minus smallest off-CPU share inside a work group (35; release: 15)", 0, 100
    ),
    "max_throughput_cv": Field("number", "coefficient of variation of work per CPU second"),
    "min_work_rate": Field("number", "work units per CPU second of each worker"),
    "max_p99_wake_latency_ns": Field("int", "99th percentile of wake latencies"),
    "max_wake_latency_cv": Field("number", "coefficient of variation of wake latencies"),
    "max_p99_request_latency_ns": Field("int", "99th percentile of request latencies, of Schbench and Taobench"),
    "min_iteration_rate": Field("number", "iterations per second of wall time of each worker"),
    "max_migration_ratio": Field("number", "migrations per iteration"),
    "min_throughput": Field("number", "work units per second of wall time of all workers of a cgroup"),
    "min_utilisation_pct": Field(
        "number", "CPU time of a cgroup's workers, of all that they could have had on its CPUs", 0, 100
    ),
    "max_bandwidth_error_pct": Field("number", "how far a cgroup's CPU time is off its cpu.max (5)"),
    "max_weight_error_pct": Field("number", "how far a busy cgroup's share is off its cpu.weight (10)", 0, 100),
    "max_throttled_pct": Field("number", "share of a cgroup's cpu.max periods in which it was throttled", 0, 100),
    "max_imbalance_ratio": Field("number", "longest runqueue over max(1, shortest) of those that could share (4.0)"),
    "max_local_dsq_depth": Field("int", "tasks in one CPU's local DSQ (50)", 0, 2**32 - 1),
    "fail_on_stall": Field("bool", "a runqueue clock that stands still with runnable tasks fails (true)"),
    "sustained_samples": Field("int", "consecutive samples a violation must last (5)", 1, 2**32 - 1),
    "max_fallback_rate": Field("number", "select_cpu fallbacks per second, all CPUs (200)"),
    "max_keep_last_rate": Field("number", "dispatch keep-lasts per second, all CPUs (100)"),
    "max_wait_ms": Field("int", "longest time that a task that could run waits for a CPU (1000)"),
    "max_idle_wait_ms": Field("int", "longest time that a CPU idles while a task that may run there waits (400)"),
    "affinity": Field("bool", "a task runs only on CPUs that it may use (true)"),
    "one_queue": Field("bool", "a task is on one runqueue (true)"),
    "vtime_forward": Field("bool", "what a task is ordered by does not go back while it stays on one CPU (false)"),
    "min_cgroup_share": Field("number", "part of its fair share that a cgroup gets which is always busy (0.25)", 0, 1),
    "max_dsq_growth": Field("int", "by how many DSQs a scheduler has more at the end of the workload (100)"),
    "max_callback_us": Field(
        "number", "how long a callback of the scheduler takes, on the average of its calls (1000)"
    ),
    "no_kernel_warning": Field("bool", "the kernel's scheduler and cgroups warn of nothing while the test runs (true)"),
    "min_page_locality": Field("number", "share of pages on the expected nodes", 0, 1),
    "max_cross_node_migration_ratio": Field("number", "pages migrated between nodes over pages allocated", 0, 1),
    "max_slow_tier_ratio": Field("number", "share of pages on memory-only nodes", 0, 1),
}

CONSTRAINTS: Table = {
    "min_cpus": Field("int", "fewest CPUs (1)", 1, MAX_CPUS),
    "max_cpus": Field("int", f"most CPUs ({MAX_CPUS})", 1, MAX_CPUS),
    "min_llcs": Field("int", "fewest LLCs (1)", 1, MAX_CPUS),
    "max_llcs": Field("int", f"most LLCs ({MAX_CPUS})", 1, MAX_CPUS),
    "min_numa_nodes": Field("int", "fewest NUMA nodes (1)", 1, MAX_CPUS),
    "max_numa_nodes": Field("int", f"most NUMA nodes ({MAX_CPUS})", 1, MAX_CPUS),
    "requires_smt": Field("bool", "at least two threads per core (false)"),
}

CPU_KARGS = ("isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity")  # kernel arguments whose value is a CPU list
_CPU_KARGS = (
    ("isolcpus", "isolcpus", "CPUs that the kernel's isolcpus= has: a cpuset form, or {cpus, flags}"),
    ("nohz_full", "cpuset", "CPUs that the kernel's nohz_full= has"),
    ("rcu_nocbs", "cpuset", "CPUs that the kernel's rcu_nocbs= has"),
    ("irqaffinity", "cpuset", "CPUs that the kernel's irqaffinity= has"),
)

TEST: Table = {
    "description": Field("text", "what must hold, in one sentence"),
    "duration": Field("duration", "how long the workload runs, in guest time (2s)", MS, 3600 * S),
    "cgroups": Field("node", "the cgroups and their workers", shape="cgroups"),
    "payloads": Field(
        "node", "payloads that run beside cgroups: names, or {payload, cgroup, args}", shape="payload_runs"
    ),
    "steps": Field("node", "what happens one after the other, in place of cgroups", shape="steps"),
    "backdrop": Field("node", "beside steps: what lives through all of them", shape="backdrop"),
    "workers_per_cgroup": Field("int", "how many workers a work without `workers` has (2)", 1, 1024),
    "cpu_controller": Field("bool", "cgroups share CPUs, by the cpu controller of cgroup v2 (true)"),
    "settle": Field("duration", "how long the backdrop runs before the first step (0s)", 0, 3600 * S),
    "cleanup_budget": Field("duration", "how long taking everything down may take", MS, 3600 * S),
    "topology": Field("word", "a preset or a label: what the test runs on when it is run by its name alone"),
    "matrix": Field("node", "a test for each combination: values by the path of a field", shape="matrix"),
    "offline": Field("node", "CPUs that are offline before the scheduler attaches", shape="cpuset"),
    **{name: Field("node", about, shape=shape) for name, shape, about in _CPU_KARGS},
    "host_only": Field("bool", "it needs no guest, and is skipped where guests run (false)"),
    "include_files": Field("paths", "more files, in the guest below /include-files; relative to this file"),
    "performance_mode": Field("bool", "on KVM, host CPUs of its own: pinned, real-time, huge pages"),
    "memory_mib": Field("int", "guest memory; without it, sized by the CPUs", 128, 1 << 20),
    "kargs": Field("kargs", "more kernel arguments"),
    "sysctls": Field("sysctls", "kernel settings, by dotted name"),
    "checks": Field("node", "thresholds of this test, over those of the scheduler", shape="checks"),
    "temporal": Field("temporal", "what must hold over time, such as [never local_dsq > 10]; of what is sampled"),
    "captures": Field("int", "samples of the workload, evenly apart, that have to be had (0)", 0, 10_000),
    "constraints": Field("node", "which topologies the test can run on", shape="constraints"),
    "scheduler_args": Field("texts", "more arguments for the scheduler"),
    "scheduler_ops": Field("node", "what becomes of the scheduler within the run", shape="scheduler_ops"),
    "category": Field("name", "a name for tests of one kind, which test=category:NAME selects"),
    "demo": Field("bool", "runs only when it is named (false)"),
    "perf_delta": Field("node", "limits against a baseline: metrics, or {metric, direction, ...}", shape="perf_delta"),
    "expect": Field("node", "how the run must end, where that is no pass: refused, stalls, ...", shape="expect"),
    "compare": Field("node", "[mine, other]: run under both schedulers, judge the first", shape="compare"),
}

PERF_GATE: Table = {
    "metric": Field("metric", "a metric of the registry; doit stats_list_metrics lists them", required=True),
    "direction": Field("choice", "which one is better; without it, the registry's", choices=("higher", "lower")),
    "max_regression_pct": Field("number", "a regression of more than this many percent counts"),
    "min_abs": Field("number", "a change of less than this, in the metric's unit, does not count"),
    "phase": Field("int", "0: BASELINE, 1 and up: a step; without it, the whole run", 0, 65535),
}

SCHEDULER_OP: Table = {
    "at": Field(
        "duration",
        "after so much of the test's duration, in which these ops are not counted",
        0,
        3600 * S,
        required=True,
    ),
    "op": Field(
        "choice",
        "detach it; attach it again; restart: both; replace: start another one, or it with other arguments",
        choices=("detach", "attach", "restart", "replace"),
        required=True,
    ),
    "scheduler": Field("name", "of replace: the declared scheduler that takes its place; without it, itself"),
    "args": Field("texts", "of replace: arguments from then on; without them, those that scheduler declares, or none"),
}

# A scheduler has exactly one of these; ``load`` makes its kind of it.
SCHEDULER_KINDS: Table = {
    "builtin": Field("choice", "a scheduler of the kernel itself", choices=("eevdf",)),
    "path": Field("spec", "a scheduler binary; relative to this file"),
    "source": Field("spec", "a folder that is built with make; relative to this file"),
    "crate": Field("crate", "a published Rust crate, NAME@VERSION, built with this machine's cargo"),
    "tree": Field("name", "a scheduler of the kernel's own tools/sched_ext, built from the sources of each kernel"),
    "build": Field("node", "what a command makes: {command, inputs, output}", shape="build"),
    "discover": Field("name", "a program of this name: beside this file, in target/, or built by cargo"),
}

BUILD: Table = {
    "command": Field("texts", "the command and its arguments; it runs in this file's folder", required=True),
    "inputs": Field("globs", "globs of all files that decide what it makes; with ! before, of others", required=True),
    "output": Field("path", "the program that it makes, relative to this file", required=True),
    "env": Field("env", "variables of its environment, by name"),
}

EXPECT: Table = {
    "end": Field(
        "choice",
        "refused at load, dies by itself, evicted by the kernel, stalls (its watchdog), or fails in any way",
        choices=("refused", "dies", "evicted", "stalls", "fails"),
        required=True,
    ),
    "message": Field("regex", "a regular expression that what kernel or scheduler say of it must match"),
    "exit_kind": Field("choice", "why the kernel evicts it, beside end: evicted", choices=tuple(EXIT_KINDS)),
}

SCHEDULER: Table = {
    **SCHEDULER_KINDS,
    "features": Field("features", "features of the crate to build it with"),
    "enable": Field("writes", "beside builtin: what is written to which file of /proc or /sys before the workload"),
    "disable": Field("writes", "beside builtin: and what after it"),
    "args": Field("texts", "the scheduler's arguments"),
    "config": Field("path", "a file that it is given by --config, relative to this file"),
    "cgroup_parent": Field("cgroup", "where tests make their cgroups; it is given by --cell-parent-cgroup"),
    "files": Field("paths", "files and folders it reads, relative to this file; it starts in a folder that has them"),
    "env": Field("env", "variables of its environment, by name"),
    "checks": Field("node", "thresholds for every test under this scheduler", shape="checks"),
    "expect": Field("node", "how every run of it must end, where that is no pass", shape="expect"),
    "kernels": Field("patterns", "kernels that it is for, by name, spec, glob or part of one; others are skipped"),
    "preset": Field("word", "the topology of tests that run under it by name alone"),
    "sysctls": Field("sysctls", "kernel settings, by dotted name"),
    "kargs": Field("kargs", "more kernel arguments"),
    "attach_timeout": Field(
        "duration", "how long it may take to attach, in guest time; without it, by the machine's speed", MS, 3600 * S
    ),
}

KERNEL: Table = {
    "spec": Field("spec", "what kernel= takes; a path is relative to this file", required=True),
    "kargs": Field("kargs", "more kernel arguments"),
    "patch": Field("paths", "patches of its sources, in order, relative to this file: unified diffs, as for patch -p1"),
    "kconfig": Field("texts", "how it is built: minimal, full or tree, then fragments: debug, rt, hz1000, ./FILE"),
    "cc": Field("word", "the C compiler that builds it, as in make CC=gcc-12"),
    "llvm": Field("word", "build it with LLVM, as in make LLVM=1 or LLVM=-19"),
}

PRESET: Table = {
    "topology": Field("label", "NODESnLLCSlCOREScTHREADSt, such as 2n4l4c1t"),
    "nodes": Field("node", "instead: each NUMA node, where they or their LLCs differ", shape="numa_nodes"),
    "threads": Field("int", "SMT threads of each core of these nodes (1)", 1, MAX_CPUS),
    "distances": Field("node", "node distances: 10 on the diagonal, 11 to 254 elsewhere", shape="distances"),
    "offline": Field("cpu_list", "CPUs that are offline before anything runs, beside those of the test"),
}
NUMA_NODE: Table = {
    "llcs": Field("node", "the cores of each of its LLCs, such as [6, 2]; none: memory alone", shape="llcs"),
    "memory": Field("size", "its memory, such as 512M, or 0; else a share of what the guest gets"),
}

MATRIX: Table = {
    "tests": Field("patterns", "tests, by name, glob or part of a name", required=True),
    "presets": Field("patterns", "topologies, likewise", required=True),
    "kernels": Field("patterns", "kernels, likewise; without it, the first one declared"),
    "schedulers": Field("patterns", "schedulers, likewise; without it, eevdf"),
    "seeds": Field("seeds", "seeds: 0 (perturbs nothing), 1..20, or a list of these (0)"),
    "include": Field("node", "points to add", shape="points"),
    "exclude": Field("node", "points to drop", shape="points"),
}

POINT: Table = {
    "test": Field("word", "tests, by name, glob or part of a name"),
    "preset": Field("word", "topologies, likewise"),
    "kernel": Field("word", "kernels, likewise"),
    "scheduler": Field("word", "schedulers, likewise"),
    "seed": Field("int", "one seed", 0, 2**64 - 1),
}

TOP: Table = {
    "include": Field("paths", "more files of declarations, relative to this one"),
    "define": Field("node", "mappings by name, for `use` in others", shape="define"),
    "kernels": Field(
        "node", "kernels by name: a spec, or {spec, patch, kargs, kconfig}; without it, looked for", shape="kernels"
    ),
    "schedulers": Field("node", "schedulers by name; eevdf always exists", shape="schedulers"),
    "presets": Field("node", "topologies by name, beside the built-in ones", shape="presets"),
    "payloads": Field("node", "programs that tests run beside workers, by name", shape="payloads"),
    "tests": Field("node", "tests by name", required=True, shape="tests"),
    "matrices": Field("node", "what `doit test` runs, as products of names", shape="matrices"),
    "cluster": Field("word", "where cells run: the address of a Dask scheduler, or local; without it, on this host"),
}

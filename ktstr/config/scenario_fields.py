"""Every field of what a test's scenario is made of: cgroups, workers, steps, ops and payloads. See ``fields``."""

from __future__ import annotations

from ktstr.config.durations import render_duration
from ktstr.config.fields import Field, Kind, Table
from ktstr.record.vocabulary import DEFAULT_WORK_TYPE, MAX_PRIORITY, MS, POLICIES, US, WORK_TYPES, S, WorkParam

MAX_CGROUPS, MAX_WORKERS, MAX_PAYLOADS = 256, 4096, 64  # of one test: what the agent takes
MAX_WORKERS_OF_WORK, MAX_COPIES = 1024, 64
MAX_CGROUP_DEPTH = 8
MAX_ARGS, MAX_ARG_BYTES, MAX_ENV = 63, 7680, 64  # of a payload, its program's path left out
MAX_NODES = 64  # NUMA nodes of a guest
CUSTOM = "Custom"  # the work type of a worker that is a payload
# What a thread may be called (TASK_COMM_LEN, the NUL left out); a metric of what a payload prints.
COMM_PATTERN = r"[ -.0-~]{1,15}"
PAYLOAD_METRIC_PATTERN = r"[^\s\x00-\x1f\x7f]{1,256}"
# As the kernel has them: cpu.max, and what is written in its place; percentages; memory.
CPU_MAX_PATTERN = r"max|[0-9]{1,5}(\.[0-9]{1,3})?%|(max|[0-9]{4,12}) [0-9]{4,7}"
CLAMP_PATTERN = r"max|[0-9]{1,3}(\.[0-9]{1,2})?%"
SIZE_PATTERN = r"max|[0-9]{1,18}[KMGT]?"

# Of SCHED_DEADLINE, as the kernel takes them: its shortest runtime (DL_SCALE), and
# /proc/sys/kernel/sched_deadline_period_{min,max}_us as they are.
MIN_RUNTIME, MIN_PERIOD, MAX_PERIOD = 1024, 100 * US, (1 << 22) * US


def _params() -> dict[str, list[tuple[str, WorkParam]]]:
    """By key, the work types that take it, each with what it is there; but for what ``phases`` says."""
    found: dict[str, list[tuple[str, WorkParam]]] = {}
    for name, facts in WORK_TYPES.items():
        for param in () if facts.has_phases else facts.params:
            found.setdefault(param.key, []).append((name, param))
    return found


_KINDS: dict[str, Kind] = {"ns": "duration", "switch": "bool", "": "int"}


def _param_field(owners: list[tuple[str, WorkParam]]) -> Field:
    """Within the bounds of the type that has the widest: those of each are looked at beside its type."""
    kind = _KINDS[owners[0][1].unit]
    low, high = min(param.low for _, param in owners), max(param.high for _, param in owners)
    return Field(
        kind, "; ".join(f"{name}: {param.about} ({shown(param, param.default)})" for name, param in owners), low, high
    )


def shown(param: WorkParam, value: int) -> str:
    """A value of a parameter, as it is written."""
    return render_duration(value) if param.unit == "ns" else str(bool(value)).lower() if param.unit else f"{value}"


def bounds_of(param: WorkParam) -> str:
    """What a parameter may be, for people."""
    if param.unit == "switch":
        return "true or false"
    what = "a duration" if param.unit == "ns" else "a whole number"
    return f"{what} from {shown(param, param.low)} to {shown(param, param.high)}"


PARAMS = _params()
PHASED = tuple(name for name, facts in WORK_TYPES.items() if facts.has_phases)
PHASES: Table = {
    kind: Field("duration", about, US, 3600 * S)
    for kind, about in {
        "spin": "computes",
        "sleep": "sleeps, once",
        "yield": "gives its CPU up, again and again",
        "io": "writes 64 KiB to a file in memory, then sleeps 100us, again and again",
        "alu_hot": "multiplies, in chains that do not wait for each other",
    }.items()
}

WORK: Table = {
    "work": Field(
        "choice", f"what each worker does ({DEFAULT_WORK_TYPE})", choices=tuple(dict.fromkeys((*WORK_TYPES, CUSTOM)))
    ),
    "workers": Field("count", "how many workers, or {per_cpu}; without it, workers_per_cgroup", 1, MAX_WORKERS_OF_WORK),
    "policy": Field("choice", "scheduling policy (normal)", choices=tuple(POLICIES)),
    "priority": Field("int", "real-time priority, for fifo and rr (1); 99 is the agent's own", 1, MAX_PRIORITY),
    "nice": Field("int", "nice value, for normal, batch and ext (0)", -20, 19),
    "runtime": Field("duration", "of policy deadline: how long it may run in each period", MIN_RUNTIME, MAX_PERIOD),
    "deadline": Field("duration", "of policy deadline: until when after a period's begin", MIN_RUNTIME, MAX_PERIOD),
    "period": Field("duration", "of policy deadline: how long a period is", MIN_PERIOD, MAX_PERIOD),
    "affinity": Field(
        "node",
        "CPUs the workers pin themselves to: 0-3 or [0-3, 5], a cpuset form, a word, {lowest: 2}, {each: [0, 1]}",
        shape="affinity",
    ),
    "mem_policy": Field("node", "memory policy: local, or a mode with its nodes: {bind: [0, 1]}", shape="mem_policy"),
    "mem_flags": Field(
        "choices",
        "flags of the memory policy",
        choices=("static_nodes", "relative_nodes", "numa_balancing"),
    ),
    "threads": Field("bool", "workers are threads of one process (false)"),
    "comm": Field("comm", "what each worker is called"),
    "pcomm": Field("comm", "of threads: what their process is called; works of one name in a cgroup share it"),
    "cgroup_namespace": Field("bool", "workers see their cgroup as the root (false)"),
    "swappable": Field("bool", "work_type= may replace what they do (false)"),
    "payload": Field("name", "of work Custom: the payload that each worker is"),
    "phases": Field("node", "of work Sequence: what each worker goes through, up to 8: {spin: 10ms}", shape="phases"),
    **{key: _param_field(owners) for key, owners in PARAMS.items()},
}

# In the order in which they are written.
CONTROLS: Table = {
    "cpu.max": Field("cpu_max", "CPU time: 25% of one CPU, '25000 100000' (microseconds of a period), or max"),
    "cpu.max.burst": Field("us", "CPU time saved up for later", 0, 3600 * S),
    "cpu.weight": Field("int", "share of CPU time beside its siblings (100)", 1, 10_000),
    "cpu.weight.nice": Field("int", "the same, as a nice value (0)", -20, 19),
    "cpu.idle": Field("switch", "it runs only where nobody else wants to (false)"),
    "cpu.uclamp.min": Field("clamp", "least utilization that its tasks count as: 20%, or max"),
    "cpu.uclamp.max": Field("clamp", "most utilization that its tasks count as: 80%, or max"),
    "cpuset.cpus.partition": Field(
        "choice", "what its CPUs are to the scheduler", choices=("member", "root", "isolated")
    ),
    "memory.min": Field("size", "memory that is never taken from it: bytes, K, M, G, or max"),
    "memory.low": Field("size", "memory that is taken from it last"),
    "memory.high": Field("size", "memory above which it is throttled"),
    "memory.max": Field("size", "most memory"),
    "memory.swap.max": Field("size", "most swap"),
    "io.weight": Field("int", "share of IO beside its siblings (100)", 1, 10_000),
    "pids.max": Field("limit", "most tasks, or max", 1, 4_194_304),
}

_PLACE: Table = {
    "cpuset": Field("node", "the cgroup's CPUs; without it, all of them", shape="cpuset"),
    "mems": Field("nodes", "the cgroup's memory nodes, such as [0, 1]"),
}

CGROUP: Table = {
    "name": Field("cgroup_path", "the cgroup's name, or its path: a/b", required=True),
    **_PLACE,
    "expect_cpuset": Field("node", "what `isolation` judges by instead of cpuset", shape="cpuset"),
    **CONTROLS,
    "works": Field("node", "several kinds of worker, in place of the keys of one", shape="works"),
    **WORK,
    "workers": Field(
        "count",
        "how many workers, or {per_cpu}; without it, workers_per_cgroup; 0: an empty cgroup",
        0,
        MAX_WORKERS_OF_WORK,
    ),
    "copies": Field(
        "count", "as many of it, or {per_cpu} of the usable CPUs, called NAME_0, NAME_1 and so on", 1, MAX_COPIES
    ),
}

COUNT: Table = {
    "per_cpu": Field("number", "so many for each CPU that the cgroup can use, rounded down", 0.01, 64, required=True),
    "min": Field("int", "at least so many (1)", 1, MAX_WORKERS_OF_WORK),
    "max": Field("int", "at most so many", 1, MAX_WORKERS_OF_WORK),
}

CPUSET: dict[str, str] = {
    "llc": "the CPUs of one LLC, by index",
    "numa": "the CPUs of one NUMA node",
    "range": "[from, to]: a slice of the usable CPUs, as fractions",
    "disjoint": "[index, of]: one of `of` equal parts of the usable CPUs",
    "overlap": "[index, of, fraction]: as disjoint, widened by that part of itself on inner sides",
    "exact": "a CPU list, such as 0-3 or [0-3, 5]",
    "except": "the usable CPUs that are not in this form",
}
WITHIN = "within"
WITHIN_ABOUT = "beside range, disjoint or overlap: another form, or all, in place of the usable CPUs"
PARTS = ("range", "disjoint", "overlap")  # that may be within another form

AFFINITIES: dict[str, str] = {
    "random": "for each worker half of its cgroup's CPUs, drawn",
    "llc_aligned": "the CPUs of the LLC that has the most of its cgroup's",
    "single": "the lowest of its cgroup's CPUs",
    "spread": "for each worker one of its cgroup's CPUs, in turn, through all copies of the cgroup",
    "all": "every CPU",
}

LOWEST = Field("int", "so many of the lowest of its cgroup's CPUs", 1, 512)

MEM_POLICIES: dict[str, str] = {
    "bind": "only these nodes",
    "preferred": "one node, others where it is full",
    "interleave": "these nodes in turn",
    "preferred_many": "these nodes, others where they are full",
    "weighted_interleave": "these nodes in turn, by their weights",
}

ISOLCPUS: Table = {
    "cpus": Field("node", "the CPUs", required=True, shape="cpuset"),
    "flags": Field("choices", "what they are isolated from", choices=("domain", "managed_irq", "nohz")),
}

_CGROUP_OF_OP = Field("cgroup_path", "the cgroup, by its path", required=True)
_PAYLOAD_OF_OP = Field("name", "the payload", required=True)
_PAYLOAD_CGROUP = Field("cgroup_path", "the cgroup that it runs in; without it, the agent's own")
_CPUS_OF_OP = Field("node", "the CPUs", required=True, shape="cpuset")

RUN: Table = {
    "payload": _PAYLOAD_OF_OP,
    "cgroup": _PAYLOAD_CGROUP,
    "args": Field("texts", "its arguments; without them, those that it declares"),
}

_KEYS_OF_OPS: dict[str, tuple[str, Table]] = {
    "add_cgroup": ("make a cgroup without workers", {"cgroup": _CGROUP_OF_OP, **_PLACE, **CONTROLS}),
    "remove_cgroup": ("end what is in a cgroup and below it, and remove it", {"cgroup": _CGROUP_OF_OP}),
    "set_cpuset": (
        "change the CPUs of a cgroup",
        {"cgroup": _CGROUP_OF_OP, "cpuset": Field("node", "the CPUs", required=True, shape="cpuset")},
    ),
    "clear_cpuset": ("give a cgroup the CPUs of its parent", {"cgroup": _CGROUP_OF_OP}),
    "swap_cpusets": (
        "each of two cgroups gets the other's CPUs",
        {"cgroups": Field("pair", "the two cgroups, by their paths", required=True)},
    ),
    "set": ("write to files of a cgroup, such as cpu.max", {"cgroup": _CGROUP_OF_OP, **CONTROLS}),
    "freeze": ("stop all that is in a cgroup", {"cgroup": _CGROUP_OF_OP}),
    "unfreeze": ("let it go on", {"cgroup": _CGROUP_OF_OP}),
    "spawn": ("start workers in a cgroup", {"cgroup": _CGROUP_OF_OP, **WORK}),
    "spawn_host": ("start workers in the agent's own cgroup", dict(WORK)),
    "stop": ("end the workers and payloads of a cgroup, which stays", {"cgroup": _CGROUP_OF_OP}),
    "set_affinity": (
        "pin the workers of a cgroup",
        {"cgroup": _CGROUP_OF_OP, "affinity": Field("node", "the CPUs", required=True, shape="affinity")},
    ),
    "move_tasks": (
        "move all workers of one cgroup into another",
        {
            "from": Field("cgroup_path", "the cgroup that they are in", required=True),
            "to": Field("cgroup_path", "the cgroup that they get into", required=True),
        },
    ),
    "offline": ("take CPUs offline", {"cpus": _CPUS_OF_OP}),
    "online": ("bring CPUs online", {"cpus": _CPUS_OF_OP}),
    "run": ("start a payload", RUN),
    "wait": (
        "wait for a payload's end",
        {
            "payload": _PAYLOAD_OF_OP,
            "cgroup": Field("cgroup_path", "where it runs; without it, wherever it does"),
            "timeout": Field("duration", "how long at most (60s)", MS, 3600 * S),
        },
    ),
    "kill": (
        "end a payload and its process group",
        {"payload": _PAYLOAD_OF_OP, "cgroup": Field("cgroup_path", "where it runs; without it, wherever it does")},
    ),
}
OP_ABOUT: dict[str, str] = {name: about for name, (about, _) in _KEYS_OF_OPS.items()}
OP_NAME = Field("choice", "what happens", choices=tuple(_KEYS_OF_OPS), required=True)
OPS: dict[str, Table] = {name: {"op": OP_NAME, **table} for name, (_, table) in _KEYS_OF_OPS.items()}

_OPS = Field("node", "what happens first, in a loop after the rest: a list of {op: NAME, ...}", shape="ops")
_PAYLOADS = Field("node", "payloads that are started: names, or {payload, cgroup, args}", shape="payload_runs")
MAX_HOLD_FRACTION = 1000

STEP: Table = {
    "name": Field("name", "what it is called"),
    "ops": _OPS,
    "cgroups": Field("node", "cgroups that are made then", shape="cgroups"),
    "payloads": _PAYLOADS,
    "hold": Field(
        "node",
        "how long it lasts then: a fraction of the duration (1.0), a duration, or {every: 100ms}: the ops after the"
        " rest, again and again until the duration is over",
        shape="hold",
    ),
}

LOOP: Table = {
    "every": Field("duration", "the time from one round of the ops to the next", MS, 3600 * S, required=True)
}
HOLD = Field("duration", "how long", MS, 3600 * S)

BACKDROP: Table = {
    "cgroups": Field("node", "cgroups that are there before the first step", shape="cgroups"),
    "ops": Field("node", "what happens then", shape="ops"),
    "payloads": _PAYLOADS,
}

PICKS = ("first", "last", "min", "max", "mean", "sum", "count")
PAYLOAD: Table = {
    "path": Field("spec", "the program, relative to this file"),
    "program": Field("name", "in place of path: a program that is installed here, found in PATH"),
    "install": Field("text", "beside program: the command that installs it, which is told where it is missing"),
    "args": Field("texts", "its arguments"),
    "env": Field("env", "variables of its environment, by name"),
    "files": Field("paths", "files and folders it reads, relative to this file; it starts in a folder that has them"),
    "output": Field(
        "choice",
        "what its standard output is: json has metrics, text those that `match` finds (exit_code)",
        choices=("exit_code", "json", "text"),
    ),
    "metrics": Field("node", "what is known of its metrics, by their dotted path", shape="payload_metrics"),
    "checks": Field("node", "what must hold of it", shape="payload_checks"),
}

PAYLOAD_METRIC: Table = {
    "polarity": Field(
        "node", "which value is better: higher, lower, unknown, or {target: NUMBER} (unknown)", shape="polarity"
    ),
    "unit": Field("word", "its unit"),
    "match": Field(
        "regex", "of output: text, a regular expression whose one group is the number; ^ and $ are of lines"
    ),
    "pick": Field("choice", "of several matches: which, or what of them (first)", choices=PICKS),
}
POLARITY = Field("choice", "which value is better", choices=("higher", "lower", "unknown"))
TARGET: Table = {"target": Field("number", "the best value", -1e300, 1e300, required=True)}

PAYLOAD_CHECKS: Table = {
    "exit_code": Field("node", "what it must end with, or any (0)", shape="exit_code"),
    "exists": Field("node", "metrics that it must print", shape="payload_metric_names"),
    "min": Field("node", "least values of metrics", shape="payload_limits"),
    "max": Field("node", "greatest values of metrics", shape="payload_limits"),
    "range": Field("node", "[least, greatest] of metrics", shape="payload_ranges"),
}
EXIT_CODE = Field("int", "what it must end with", 0, 255)
METRIC_VALUE = Field("number", "a metric's value", -1e300, 1e300)

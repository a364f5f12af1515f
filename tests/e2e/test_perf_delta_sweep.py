"""What ``perf_delta`` says of commits that change nothing, and of three that make a scheduler slower.

Costs 20 x 12 clones and three pairs of builds: about ten minutes.
"""

from __future__ import annotations

import pytest

from tests.e2e.commits import change, delta, edit, repository, words
from tests.e2e.conftest import UserProject
from tests.repositories import git

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

YAML = """\
kernels: {default: "deb:forky/cloud-amd64"}
schedulers: {scx_ktstr: {source: schedulers/scx_ktstr}}
presets: {four: 1n2l2c1t}
tests:
  bursts:
    duration: 300ms
    cgroups:
      - {name: bursts, work: Bursty, workers: 6, burst: 3ms, sleep: 5ms}
      - {name: noise, workers: 4}
    checks: {max_spread_pct: 100}
    perf_delta: [worst_p99_wake_latency_us]
  spinners:
    duration: 300ms
    cgroups: [{name: spinners, workers: 4}]
    checks: {max_spread_pct: 100}
    perf_delta: [iteration_rate]
  pairs:
    duration: 300ms
    cgroups:
      - {name: pairs, work: FutexPingPong, workers: 4, spin_iters: 512}
    checks: {max_spread_pct: 100}
    perf_delta: [iteration_rate]
matrices:
  all: {tests: [bursts, pairs, spinners], presets: [four], schedulers: [scx_ktstr]}
"""
SLICE_OF = "static __always_inline u64 slice_of(const struct task_struct *p)"
HARMLESS = [f"/* {'How long a turn is. ' * (1 + n)}*/\n" + "\n" * n + SLICE_OF for n in range(10)] + [
    f"static __attribute__((unused)) int unused_{n}(int x)\n{{\n\treturn x * {n} + {n * n};\n}}\n\n{SLICE_OF}"
    for n in range(10)
]
LOCK = """\
struct lock {
	struct bpf_spin_lock lock;
	u64 taken;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct lock);
} locks SEC(".maps");

static __noinline int slowly(void)
{
	u32 zero = 0;
	struct lock *lock = bpf_map_lookup_elem(&locks, &zero);
	int i;

	for (i = 0; lock && i < 4000; i++) {
		bpf_spin_lock(&lock->lock);
		lock->taken++;
		bpf_spin_unlock(&lock->lock);
	}
	return 0;
}

"""
SELECT = 'SEC("struct_ops/ktstr_select_cpu")'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    return repository(tmp_path_factory.mktemp("perf"), YAML, lock)


@pytest.mark.parametrize("number", range(20))
def test_a_commit_of_comments_or_unused_code_never_regresses(project: UserProject, number: int) -> None:
    change(project, SLICE_OF, HARMLESS[number])
    found = delta(project, "noise_adjust=6", "kernel=default")
    assert "regressed" not in {**words(found, "bursts"), **words(found, "pairs")}.values(), found["failures"]


def test_a_longer_slice_makes_wakers_wait(project: UserProject) -> None:
    change(project, "#define SLICE_NS	(10 * MSEC)", "#define SLICE_NS	(30 * MSEC)")
    found = delta(project, "noise_adjust=6", "kernel=default", codes=(1,))
    assert words(found, "bursts")["worst_p99_wake_latency_us"] == "regressed"
    assert "regressed" not in words(found, "pairs").values()


def test_a_lock_in_the_fast_path_costs_throughput(project: UserProject) -> None:
    change(project, SELECT, LOCK + SELECT)
    edit(project, "\tdsq_insert(p, queue,", "\tslowly();\n\tdsq_insert(p, queue,")
    edit(project, "\tif (is_idle)\n", "\tslowly();\n\tif (is_idle)\n")
    found = delta(project, "noise_adjust=6", "kernel=default", codes=(1,))
    assert words(found, "pairs")["iteration_rate"] == "regressed"


def test_a_worse_choice_of_cpu_makes_tasks_wait_beside_idle_cpus(project: UserProject) -> None:
    change(project, "	cpu = scx_bpf_select_cpu_dfl___k(p, prev_cpu, wake_flags, &is_idle);", "	cpu = 0;")
    edit(project, "\tif (cpu >= 0)\n\t\tscx_bpf_kick_cpu___k(cpu, SCX_KICK_IDLE);\n", "")
    git(project.path, "commit", "-qam", "worse")
    found = delta(project, "noise_adjust=6", "kernel=default", codes=(1,))
    assert words(found, "spinners")["worst_mean_run_delay_us"] == "regressed"
    assert words(found, "pairs")["worst_p99_wake_latency_us"] == "regressed"

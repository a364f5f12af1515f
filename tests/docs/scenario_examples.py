"""Examples of the scenario language: one test of each op and of each part, as docs/scenarios.md shows them.

Each is whole: it runs under eevdf on the topology that it names, and passes.
"""

from __future__ import annotations

OPS: dict[str, str] = {
    "add_cgroup": """\
tests:
  add_cgroup:
    duration: 100ms
    topology: 1n2l1c1t
    steps:
      - ops:
          - {op: add_cgroup, cgroup: team, cpu.weight: 50}
        cgroups:
          - {name: team/one, workers: 1}
""",
    "remove_cgroup": """\
tests:
  remove_cgroup:
    duration: 100ms
    topology: 1n2l1c1t
    steps:
      - ops:
          - {op: add_cgroup, cgroup: brief}
          - {op: remove_cgroup, cgroup: brief}
        cgroups: [{name: stays, workers: 1}]
        hold: {every: 20ms}
""",
    "set_cpuset": """\
tests:
  set_cpuset:
    duration: 100ms
    topology: 1n2l1c1t
    backdrop:
      cgroups: [{name: roams, workers: 1}]
    steps:
      - hold: 0.5
      - ops:
          - {op: set_cpuset, cgroup: roams, cpuset: {llc: 1}}
        hold: 0.5
""",
    "clear_cpuset": """\
tests:
  clear_cpuset:
    duration: 100ms
    topology: 1n2l1c1t
    backdrop:
      cgroups: [{name: confined, workers: 1, cpuset: {llc: 0}}]
    steps:
      - hold: 0.5
      - ops:
          - {op: clear_cpuset, cgroup: confined}
        hold: 0.5
""",
    "swap_cpusets": """\
tests:
  swap_cpusets:
    duration: 100ms
    topology: 1n2l1c1t
    backdrop:
      cgroups:
        - {name: low, workers: 1, cpuset: {llc: 0}}
        - {name: high, workers: 1, cpuset: {llc: 1}}
    steps:
      - hold: 0.5
      - ops:
          - {op: swap_cpusets, cgroups: [low, high]}
        hold: 0.5
""",
    "set": """\
tests:
  set:
    duration: 400ms
    topology: 1n2l1c1t
    backdrop:
      cgroups: [{name: limited, workers: 2}]
    steps:
      - hold: 0.5
      - ops:
          - {op: set, cgroup: limited, cpu.max: 50%, cpu.weight: 20}
        hold: 0.5
""",
    "freeze": """\
tests:
  freeze:
    duration: 100ms
    topology: 1n2l1c1t
    backdrop:
      cgroups: [{name: batch, workers: 1}]
    steps:
      - hold: 0.3
      - ops:
          - {op: freeze, cgroup: batch}
        cgroups: [{name: alone, workers: 1}]
        hold: 0.3
      - ops:
          - {op: unfreeze, cgroup: batch}
        hold: 0.4
""",
    "spawn": """\
tests:
  spawn:
    duration: 100ms
    topology: 1n2l1c1t
    steps:
      - cgroups: [{name: crowd, workers: 1}]
        hold: 0.5
      - ops:
          - {op: add_cgroup, cgroup: crowd}
          - {op: spawn, cgroup: crowd, workers: 1}
          - {op: spawn, cgroup: crowd, work: Bursty, workers: 1, burst: 5ms, sleep: 5ms}
        hold: 0.5
""",
    "spawn_host": """\
tests:
  spawn_host:
    duration: 100ms
    topology: 1n2l1c1t
    steps:
      - ops:
          - {op: spawn_host, work: YieldHeavy, workers: 1}
        cgroups: [{name: guarded, workers: 1}]
""",
    "stop": """\
payloads:
  pause: {path: /bin/sleep, args: ['0.05']}
tests:
  stop:
    duration: 100ms
    topology: 1n2l1c1t
    steps:
      - ops:
          - {op: add_cgroup, cgroup: brief}
          - {op: spawn, cgroup: brief, workers: 1}
          - {op: run, payload: pause}
          - {op: wait, payload: pause}
          - {op: stop, cgroup: brief}
        cgroups: [{name: after, workers: 1}]
""",
    "set_affinity": """\
tests:
  set_affinity:
    duration: 100ms
    topology: 1n2l1c1t
    backdrop:
      cgroups: [{name: pinned, workers: 2}]
    steps:
      - hold: 0.5
      - ops:
          - {op: set_affinity, cgroup: pinned, affinity: {each: [0, {llc: 1}]}}
        hold: 0.5
""",
    "move_tasks": """\
tests:
  move_tasks:
    duration: 100ms
    topology: 1n2l1c1t
    backdrop:
      cgroups: [{name: from_here, workers: 2}, {name: to_there, workers: 0}]
    steps:
      - hold: 0.5
      - ops:
          - {op: move_tasks, from: from_here, to: to_there}
        hold: 0.5
""",
    "offline": """\
tests:
  offline:
    duration: 100ms
    topology: 1n2l2c1t
    backdrop:
      cgroups: [{name: spread, workers: 4}]
      ops:
        - {op: offline, cpus: {exact: 2-3}}
    steps:
      - hold: 0.5
      - ops:
          - {op: online, cpus: {exact: 2-3}}
        hold: 0.5
""",
    "run": """\
payloads:
  brief: {path: /bin/true}
  sleeps: {path: /bin/sleep, args: ['60']}
tests:
  run:
    duration: 100ms
    topology: 1n2l1c1t
    steps:
      - ops:
          - {op: run, payload: brief}
          - {op: run, payload: sleeps}
          - {op: wait, payload: brief, timeout: 5s}
          - {op: kill, payload: sleeps}
        cgroups: [{name: beside, workers: 1}]
""",
}
"""By the op that it is the example of; those that belong together are in one."""
TOGETHER = {"unfreeze": "freeze", "online": "offline", "wait": "run", "kill": "run"}

PARTS: dict[str, str] = {
    "short": """\
tests:
  fair:
    cgroups: [left, right]
""",
    "controllers": """\
tests:
  controllers:
    duration: 400ms
    topology: 1n2l1c1t
    cgroups:
      - {name: paid/gold, workers: 2, cpu.weight: 200, cpu.max: 80%, cpu.max.burst: 10ms}
      - {name: paid/tin, workers: 2, cpu.weight: 100, cpu.uclamp.max: 50%}
      - {name: free, workers: 1, cpu.idle: true, memory.max: 64M, pids.max: 10, io.weight: 50}
""",
    "workers": """\
tests:
  workers:
    duration: 200ms
    topology: 2n2l2c1t
    cgroups:
      - name: mixed
        cpuset: {numa: 1}
        works:
          - {workers: 1, policy: batch, nice: 5, affinity: single}
          - {work: PipeIo, workers: 2, threads: true, comm: talker, pcomm: service}
          - {workers: 1, mem_policy: {bind: [1]}, affinity: llc_aligned}
      - {name: punctual, workers: 1, policy: deadline, runtime: 2ms, deadline: 10ms, period: 10ms}
    checks: {not_starved: false}
""",
    "loop": """\
tests:
  loop:
    duration: 200ms
    topology: 1n2l1c1t
    backdrop:
      cgroups:
        - {name: low, workers: 2, cpuset: {llc: 0}}
        - {name: high, workers: 2, cpuset: {llc: 1}}
    steps:
      - ops:
          - {op: swap_cpusets, cgroups: [low, high]}
        hold: {every: 40ms}
""",
    "isolation": """\
tests:
  isolation:
    duration: 100ms
    topology: 2n2l2c1t
    isolcpus: {cpus: {numa: 1}, flags: [domain]}
    nohz_full: {numa: 1}
    offline: {exact: 3}
    cgroups:
      - {name: housekeeping, workers: 2, cpuset: {numa: 0}}
      - {name: isolated, workers: 1, affinity: 2}
""",
    "definitions": """\
define:
  hog: {work: SpinWait, workers: 1}
  small: {duration: 100ms, topology: 1n2l1c1t}
tests:
  definitions:
    use: small
    cgroups:
      - {name: left, use: hog}
      - {name: right, use: hog, nice: 5}
    matrix:
      cgroups[1].nice: [0, 5]
""",
}

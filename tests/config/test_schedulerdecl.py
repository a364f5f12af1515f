"""Schedulers of ktstr.yaml: each kind, what goes with it, and how a run of it must end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.load import parse
from ktstr.config.model import Builtin, Command, Discover, Expect, SchedulerDecl, Tree
from ktstr.errors import InputError

HEAD = "kernels: {k: deb:forky/cloud-amd64}\ntests:\n  t:\n    cgroups: [{name: a}]\n"
BASE = Path("/p")


def scheduler(body: str) -> SchedulerDecl:
    """What ``schedulers: {s: {BODY}}`` declares, the JSON Schema's word included."""
    return parse(f"{HEAD}schedulers:\n  s: {{{body}}}\n".encode(), BASE / "ktstr.yaml").schedulers["s"]


def wrong(body: str) -> str:
    with pytest.raises(InputError) as err:
        scheduler(body)
    return str(err.value).splitlines()[0]


def test_the_kernel_s_own_and_what_is_written_for_them() -> None:
    assert scheduler("tree: scx_simple").kind == Tree("scx_simple")
    writes = "enable: {/sys/kernel/debug/sched/base_slice_ns: 3000000}, disable: {/proc/sys/kernel/watchdog: 1}"
    assert scheduler(f"builtin: eevdf, {writes}").kind == Builtin(
        "eevdf", (("/sys/kernel/debug/sched/base_slice_ns", "3000000"),), (("/proc/sys/kernel/watchdog", "1"),)
    )


def test_a_command_with_inputs_and_an_output() -> None:
    body = "build: {command: [make, scx_mine], inputs: ['src/**', '!src/*.o'], output: src/scx_mine, env: {V: 1}}"
    assert scheduler(body).kind == Command(
        ("make", "scx_mine"), ("src/**", "!src/*.o"), "src/scx_mine", BASE, (("V", "1"),)
    )
    assert scheduler("discover: scx_mine").kind == Discover("scx_mine", BASE)


def test_what_a_scheduler_is_told_and_where_it_runs() -> None:
    found = scheduler("path: x, config: conf/a.json, cgroup_parent: /cells, kernels: ['debsrc:*', k], preset: odd-5llc")
    assert (found.config, found.cgroup_parent, found.base) == ("conf/a.json", "/cells", BASE)
    assert (found.kernels, found.preset) == (("debsrc:*", "k"), "odd-5llc")


def test_how_a_run_must_end() -> None:
    assert scheduler("path: x").expect is None
    assert scheduler("path: x, expect: stalls").expect == Expect("stalls")
    body = "path: x, expect: {end: evicted, exit_kind: error_bpf, message: 'bad \\d+'}"
    assert scheduler(body).expect == Expect("evicted", r"bad \d+", "error_bpf")
    text = HEAD.replace("cgroups:", "expect: {end: refused, message: kfunc}\n    cgroups:")
    assert parse(text.encode(), BASE / "ktstr.yaml").tests["t"].expect == Expect("refused", "kfunc")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("path: x, enable: {/proc/sys/a: 1}", "s.enable: found 'enable', expected enable only beside builtin"),
        ("builtin: eevdf, enable: {/etc/passwd: 1}", "s.enable: found '/etc/passwd', expected a file of /proc or /sys"),
        ("builtin: eevdf, enable: {/sys/../etc: 1}", "s.enable: found '/sys/../etc', expected a file of /proc or /sys"),
        ("builtin: eevdf, cgroup_parent: /a", "s.cgroup_parent: found 'cgroup_parent', expected no cgroup_parent for"),
        ("path: x, cgroup_parent: /", "s.cgroup_parent: found '/', expected the path of a cgroup below the root"),
        ("path: x, cgroup_parent: /a/../b", "s.cgroup_parent: found '/a/../b', expected the path of a cgroup"),
        ("path: x, config: ../a", "s.config: found '../a', expected a path inside this file's folder"),
        ("path: x, preset: odd-5lc", "s.preset: found 'odd-5lc', expected one of the presets"),
        ("build: {command: [], inputs: a, output: b}", "s.build.command: found no program, expected a program and"),
        ("build: {command: [a], output: b}", "s.build.inputs: found nothing, expected globs of all files"),
        ("build: {command: [a], inputs: '!b', output: b}", "s.build.inputs: found '!b', expected a glob that names"),
        ("build: {command: [a], inputs: /b, output: b}", "s.build.inputs: found '/b', expected a glob of files inside"),
        ("build: {command: [a], inputs: b/../../c, output: b}", "s.build.inputs: found 'b/../../c', expected a glob"),
        ("path: x, expect: stall", "s.expect: found 'stall', expected one of refused, dies, evicted, stalls, fails"),
        ("path: x, expect: {message: a}", "s.expect.end: found nothing, expected refused at load, dies by itself"),
        ("path: x, expect: {end: stalls, message: '('}", "s.expect.message: found '(', expected a regular expression"),
        ("path: x, expect: {end: dies, exit_kind: error}", "expected exit_kind only beside end: evicted"),
    ],
)
def test_a_mistake_is_told_with_what_was_meant(body: str, expected: str) -> None:
    assert expected in wrong(body)

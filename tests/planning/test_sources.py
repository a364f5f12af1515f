"""A kernel's build takes its turn: tokens of this process, then CPUs of the host."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.config.model import KernelDecl
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.cpu_topology import HostTopology, Llc, read_topology
from ktstr.host.reserve import exclude, waiting
from ktstr.host.tokens import TokenPool
from ktstr.kernels.kconfig import load_kconfig
from ktstr.kernels.recipe import Recipe
from ktstr.kernels.spec import TreeSpec
from ktstr.kernels.toolchain import find_toolchain
from ktstr.kernels.tree import tree_origin
from ktstr.planning import sources as module
from ktstr.planning.kernel import Archive, Kernel
from ktstr.planning.pins import project_pins
from ktstr.planning.request import Request
from ktstr.planning.sources import SourceKernels
from ktstr.planning.steps import Steps
from tests.cells.plans import plan
from tests.kernels.toy_tree import toy_tree

CPUS = len(os.sched_getaffinity(0))


@contextmanager
def host_to_itself(folder: Path, timeout_s: float = 20) -> Iterator[None]:
    """All LLCs of this host, as a run in performance mode has them."""
    with ExitStack() as held:
        for llc in read_topology().llcs:
            alone = HostTopology((Llc(llc.index, (0, 1, 2), 0),), {0: 0, 1: 0, 2: 0}, {})
            take = partial(exclude, 1, 1, folder, topology=alone, allowed=[0, 1, 2])
            held.enter_context(waiting(take, timeout_s, Cancel()))
        yield


@pytest.fixture
def run(tmp_path: Path) -> Request:
    environ = {"KTSTR_LOCK_DIR": str(tmp_path / "locks"), "PATH": os.environ["PATH"]}
    return replace(plan(tmp_path, environ=environ).request, tokens=TokenPool(CPUS, 1 << 20))


@pytest.fixture
def build(run: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Builds a tree as the step of its kernel does; make itself is left out, and leaves its name."""
    toy_tree(tmp_path / "linux", tmp_path / "kernel.elf")
    kconfig = load_kconfig(["minimal"], tmp_path)
    recipe = Recipe(tree_origin(TreeSpec(tmp_path / "linux")), kconfig, find_toolchain(os.environ))
    cache = Cache(tmp_path / "cache", run.cancel)
    archive = Archive(cache, Apt(tmp_path / "apt"))
    kernels = SourceKernels(run, archive, project_pins(run.project, cancel=run.cancel), Steps())
    monkeypatch.setattr(module, "build_kernel", lambda *words: (tmp_path / "built").touch())
    return lambda: kernels._build("local", recipe, cache)


def planned(run: Request, tmp_path: Path, makefile: str) -> tuple[Kernel, Steps]:
    """A tree with that Makefile, planned."""
    (tmp_path / "tree").mkdir()
    for name, text in (("Makefile", makefile), ("Kconfig", "")):
        (tmp_path / "tree" / name).write_text(text)
    steps, decl = Steps(), KernelDecl("mine", str(tmp_path / "tree"))
    archive = Archive(Cache(tmp_path / "cache", run.cancel), Apt(tmp_path / "apt", environ={"PATH": ""}))
    kernels = SourceKernels(run, archive, project_pins(run.project, cancel=run.cancel), steps)
    return kernels.plan(decl, "mine", TreeSpec(tmp_path / "tree"), tmp_path), steps


@pytest.mark.parametrize(
    ("version", "pahole", "needs"),
    [("7", "v1.24", ("tools:pahole",)), ("7", "v1.30", ()), ("6", "v1.24", ())],
)
def test_a_kernel_waits_for_our_pahole_where_the_machines_is_too_old_for_it(
    run: Request, tmp_path: Path, version: str, pahole: str, needs: tuple[str, ...]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pahole").write_text(f"#!/bin/sh\necho {pahole}\n")
    (tmp_path / "bin/pahole").chmod(0o755)
    environ = {**run.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    kernel, steps = planned(replace(run, environ=environ), tmp_path, f"VERSION = {version}\nPATCHLEVEL = 2\n")
    (step,) = steps["kernel"]
    assert (step.task, step.needs) == (kernel.task, needs)
    assert tuple(tool.task for tool in steps["tools"]) == needs


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(0.5)  # it waits for something by now, or has ended
    return thread


def test_a_build_and_an_undisturbed_run_of_one_process_do_not_wait_for_each_other(
    run: Request, build: Callable[[], None], tmp_path: Path
) -> None:
    with run.tokens.hold(CPUS, 64, run.cancel):
        thread = started(build)
        assert thread.is_alive(), "it has no tokens"
        with host_to_itself(tmp_path / "locks"):
            assert not (tmp_path / "built").exists()
    thread.join(20)
    assert (tmp_path / "built").exists()


def test_a_build_waits_for_an_undisturbed_run_of_another_process(
    run: Request, build: Callable[[], None], tmp_path: Path
) -> None:
    with host_to_itself(tmp_path / "locks"):
        thread = started(build)
        assert thread.is_alive() and not (tmp_path / "built").exists()
    thread.join(20)
    assert (tmp_path / "built").exists()


def test_cancelled_while_it_waits_nothing_is_built(run: Request, build: Callable[[], None], tmp_path: Path) -> None:
    with host_to_itself(tmp_path / "locks"):
        threading.Timer(0.3, run.cancel.set).start()
        with pytest.raises(Cancelled):
            build()
    assert not (tmp_path / "built").exists()

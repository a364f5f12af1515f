"""``tree:`` schedulers, from a tree whose tools/sched_ext is built in a second by the same words as the kernel's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ktstr.config.model import SchedulerDecl, Tree
from ktstr.errors import InputError
from ktstr.host.cache import Cache
from ktstr.schedulers.artifact import Artifact, Build, KernelSources
from ktstr.schedulers.find import find_scheduler
from ktstr.tools.pinned import BpfTools

WHERE = "ktstr.yaml:7:11"
# What ktstr uses of tools/sched_ext/Makefile: O=, VMLINUX_BTF=, and the tools, of which BPFTOOL is a prerequisite.
MAKEFILE = r"""
schedulers = scx_simple scx_broken
BINDIR := $(O)/build/bin
$(O)/vmlinux.h: $(VMLINUX_BTF) $(BPFTOOL)
	$(BPFTOOL) btf dump file $(VMLINUX_BTF) format c > $@
$(BINDIR)/%: %.c %.bpf.c $(O)/vmlinux.h
	mkdir -p $(BINDIR)
	$(CLANG) -target bpf -g -O2 -I$(O) -c $*.bpf.c -o $(O)/$*.o
	$(CC) -g $*.c -o $@
$(schedulers): %: $(BINDIR)/%
.PHONY: $(schedulers)
"""
BPF = '#include "vmlinux.h"\nint simple(struct sched_ext_ops *ops) { return 0; }\n'
MAIN = '#include <stdio.h>\nint main(void) { puts("1"); return 0; }\n'


@dataclass(frozen=True)
class Kernel:
    """A tree, and what its schedulers are asked for with."""

    tree: Path
    build: Build

    def plan(self, name: str, build: Build | None = None) -> Artifact:
        artifact = find_scheduler(SchedulerDecl("mine", Tree(name), where=WHERE), build or self.build)
        assert artifact is not None
        return artifact

    def refusal(self, name: str, build: Build | None = None) -> InputError:
        with pytest.raises(InputError) as err:
            made(self.plan(name, build))
        return err.value


@pytest.fixture
def kernel(kernel_btf: Path, tools: BpfTools, tmp_path: Path) -> Kernel:
    tree = tmp_path / "linux"
    folder = tree / "tools/sched_ext"
    folder.mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE)
    for name, main in (("scx_simple", MAIN), ("scx_broken", "int main(void) { return nothing; }\n")):
        (folder / f"{name}.bpf.c").write_text(BPF)
        (folder / f"{name}.c").write_text(main)

    @contextmanager
    def held() -> Iterator[Path]:
        yield tree

    def sources() -> KernelSources:
        return KernelSources("ab" * 32, "kernel 7.2", held)

    cache = Cache(tmp_path / "cache")
    build = Build("7.2", "id", "kernel:7.2", kernel_btf, lambda: tools, cache, os.environ, sources=sources)
    return Kernel(tree, build)


def made(artifact: Artifact) -> Path:
    assert artifact.build is not None and artifact.fresh is not None
    artifact.build()
    assert artifact.fresh()
    artifact.verify()
    return artifact.binary


def test_it_is_built_from_the_kernel_s_own_tree_which_stays_as_it_was(kernel: Kernel) -> None:
    before = sorted(kernel.tree.rglob("*"))
    artifact = kernel.plan("scx_simple")
    assert (artifact.name, artifact.needs) == ("scx_simple@7.2", ("tools:bpf", "kernel:7.2"))
    binary = made(artifact)
    assert subprocess.run([binary], capture_output=True, check=True).stdout == b"1\n"
    assert sorted(kernel.tree.rglob("*")) == before
    assert sorted(path.name for path in binary.parent.iterdir()) == ["metadata.json", "scx_simple"]
    assert bytes(kernel.tree) not in binary.read_bytes(), "nothing of this machine is in the guest"


def test_another_kernel_or_other_sources_make_another_program(kernel: Kernel) -> None:
    build = kernel.build
    other = KernelSources("cd" * 32, "kernel 7.3", lambda: pytest.fail("nothing is built"))
    digests = {
        kernel.plan("scx_simple", one).inputs
        for one in (build, replace(build, kernel_identity="x"), replace(build, sources=lambda: other))
    }
    assert len(digests) == 3


def test_a_name_that_the_tree_does_not_have_lists_those_that_it_has(kernel: Kernel) -> None:
    err = kernel.refusal("scx_simpel")
    assert err.message == (
        "ktstr.yaml:7:11: tree:scx_simpel: kernel 7.2 has no such scheduler in tools/sched_ext,"
        " nearest match 'scx_simple'"
    )
    assert err.fix == "expected one of scx_broken, scx_simple"


def test_what_does_not_compile_is_quoted_and_nothing_is_kept(kernel: Kernel) -> None:
    artifact = kernel.plan("scx_broken")
    with pytest.raises(InputError, match=r"tree:scx_broken of kernel 7\.2: does not build:(\n.*)*'nothing' undeclared"):
        made(artifact)
    assert artifact.target is not None and not artifact.target.exists()


def test_an_image_of_unknown_sources_is_refused_with_what_helps(kernel: Kernel) -> None:
    err = kernel.refusal("scx_simple", replace(kernel.build, sources=None))
    assert err.message.startswith("ktstr.yaml:7:11: tree:scx_simple: nothing here says from which sources kernel 7.2")
    assert err.fix is not None and "kernel=debsrc:7.2" in err.fix

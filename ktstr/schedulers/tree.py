"""``tree:`` schedulers: those of the kernel's own tools/sched_ext, built from the sources of each kernel.

One built from another kernel's tree need not load: a kfunc may have another name (scx_bpf_consume of 6.12 is gone in
7.x). The tree is read only; libbpf is the tree's own, bpftool is ours, so that nothing but the scheduler is compiled.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ktstr.config.model import Tree
from ktstr.config.suggest import nearest
from ktstr.errors import Changed, HostError, InputError, KtstrError
from ktstr.files import file_sha256
from ktstr.host.command import Ended, run
from ktstr.host.libraries import needed_files
from ktstr.schedulers.artifact import Artifact, Build, KernelSources
from ktstr.schedulers.binary import check_binary
from ktstr.schedulers.build import ERROR_LINES, METADATA, load_built
from ktstr.schedulers.kept import KIND, kept_artifact
from ktstr.schedulers.source import RUNTIME
from ktstr.schedulers.toolchain import Toolchain, find_toolchain

SCHEMA = 1  # raised when the same inputs are built in another way
BUILD_WAIT_S = 1200.0  # for another process that builds the same one, or fetches its sources
FOLDER = "tools/sched_ext"
DEVELOPMENT_FIX = "apt-get install --no-install-recommends gcc make libelf-dev zlib1g-dev"
_UNFINISHED = re.compile(r"(gelf|libelf|zlib)\.h: No such file|cannot find -l(elf|z)\b|make: not found")


def tree_artifact(tree: Tree, where: str, request: Build) -> Artifact:
    """The artifact of a ``tree:`` scheduler, declared at ``where``, for one kernel.

    Raises InputError for a kernel whose sources nothing names, HostError when these or the compilers cannot be had.
    """
    if request.sources is None:
        raise InputError(
            f"{where}: tree:{tree.name}: nothing here says from which sources kernel {request.kernel_label} was made",
            fix="a kernel that ktstr builds or fetches, such as kernel=debsrc:7.2, or declare the scheduler by source:",
        )
    sources, tools = request.sources(), request.tools()
    toolchain = find_toolchain(tools, request.environ)
    parts = (SCHEMA, tree.name, sources.identity, request.kernel_identity, toolchain.versions)
    inputs = hashlib.sha256(repr(parts).encode()).hexdigest()
    kept = kept_artifact(f"{tree.name}@{request.kernel_label}", tree.name, inputs, RUNTIME, request.cache)
    return replace(
        kept,
        needs=("tools:bpf", request.kernel_task),
        build=lambda: _build(tree, where, sources, toolchain, inputs, request),
    )


def _build(tree: Tree, where: str, sources: KernelSources, toolchain: Toolchain, inputs: str, request: Build) -> None:
    """Make the entry; of two processes that ask at once one builds."""
    cache = request.cache
    with request.turn() as cpus, ExitStack() as held:
        if cpus is None:
            return
        held.enter_context(cache.writing(KIND, inputs, timeout_s=BUILD_WAIT_S))
        if load_built(cache.entry(KIND, inputs), inputs) is not None:
            return
        folder = held.enter_context(cache.storing(KIND, inputs))
        source = held.enter_context(sources.tree())
        _check_there(tree, where, sources, source)
        work = folder / "work"
        work.mkdir()
        ended = run(_command(tree, source, work, toolchain, request.btf, len(cpus)), toolchain.environ(), cache.cancel)
        if ended.status:
            ended.check_room(cache.root)
            raise _failure(f"{where}: tree:{tree.name} of {sources.name}", ended)
        _fill(folder, work / "build/bin" / tree.name, where, toolchain, inputs)
        shutil.rmtree(work)
        if not toolchain.stands():
            raise Changed(f"scheduler {tree.name}: a compiler")


def _check_there(tree: Tree, where: str, sources: KernelSources, source: Path) -> None:
    """Raise InputError unless the tree has a scheduler of that name."""
    found = sorted(path.name.removesuffix(".bpf.c") for path in (source / FOLDER).glob("*.bpf.c"))
    there = [name for name in found if (source / FOLDER / f"{name}.c").is_file()]
    if tree.name in there:
        return
    hint = nearest(tree.name, there)
    raise InputError(
        f"{where}: tree:{tree.name}: {sources.name} has no such scheduler in {FOLDER}"
        + (f", nearest match {hint!r}" if hint else ""),
        fix=f"expected one of {', '.join(there)}" if there else "a kernel of 6.12 or later",
    )


def _command(tree: Tree, source: Path, work: Path, toolchain: Toolchain, btf: Path, jobs: int) -> list[str]:
    """make, with this machine's folders kept out of what it makes: they would be in the guest's memory."""
    bpftool = work / "bpftool"  # a file of one word: the Makefile names it as something that others are made from
    bpftool.write_text(f'#!/bin/sh\nexec {shlex.join(toolchain.bpftool)} "$@"\n', encoding="utf-8")
    bpftool.chmod(0o755)
    maps = f"-ffile-prefix-map={source}=. -ffile-prefix-map={work}=."
    return [
        "make", "-C", str(source / FOLDER), f"-j{max(1, jobs)}", f"O={work}", f"VMLINUX_BTF={btf}",
        f"BPFTOOL={bpftool}", f"CLANG={toolchain.clang} {maps}", f"CC={toolchain.cc} {maps}", tree.name,
    ]  # fmt: skip


def _failure(what: str, ended: Ended) -> KtstrError:
    lines = (ended.output + ended.errors).splitlines() if ended.status < 0 else ended.errors.splitlines()
    shown = "".join(f"\n  {line}" for line in lines[-ERROR_LINES:])
    if ended.status < 0:
        return HostError(f"{what}: make was killed by signal {-ended.status}:{shown}", fix="free some memory")
    if _UNFINISHED.search(ended.errors):
        return HostError(f"{what}: does not build here:{shown}", fix=DEVELOPMENT_FIX)
    return InputError(f"{what}: does not build:{shown}", fix="mend the tree, or use another kernel")


def _fill(folder: Path, made: Path, where: str, toolchain: Toolchain, inputs: str) -> None:
    """Put the program and its metadata into ``folder``."""
    if not made.is_file():
        raise HostError(f"{where}: make ended well and left no {made.name}", fix="report this with the kernel's name")
    binary = folder / made.name
    shutil.copy(made, binary)
    check_binary(binary, where)
    others = sorted(set(needed_files(binary, (), f"{where}: {made.name}").libraries) - set(RUNTIME))
    if others:
        raise InputError(f"{where}: {made.name}: needs {', '.join(others)}, expected none but {', '.join(RUNTIME)}")
    facts = {
        "schema": SCHEMA,
        "name": made.name,
        "binary": made.name,
        "binary_sha256": file_sha256(binary),
        "inputs_digest": inputs,
        "toolchain": dict(toolchain.versions),
    }
    (folder / METADATA).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")

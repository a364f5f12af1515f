"""Building a scheduler from a folder of C and BPF sources, for one kernel.

A folder holds ``NAME.bpf.c`` and its loader ``NAME.c``, and any headers. The BPF half
includes ``vmlinux.h``, made from the kernel's own BTF; the loader includes
``NAME.skel.h`` (``NAME.bpf.skel.h`` is the same file). libbpf is linked statically.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.files import file_sha256, full_or_denied, read_json, replace_file
from ktstr.host.command import Ended, run
from ktstr.host.scratch import scratch
from ktstr.schedulers.includes import prerequisites
from ktstr.schedulers.inputs import BPF_FLAGS, CC_FLAGS, LINK_FLAGS, SCHEMA, Inputs
from ktstr.schedulers.toolchain import Toolchain

METADATA = "metadata.json"
_METADATA_CAP = 64 << 20  # bytes; the compilers' warnings are in it
TOOL_TIMEOUT_S = 300
ERROR_LINES = 30
_BPF_DEPFILE, _LOADER_DEPFILE = "bpf.d", "loader.d"


@dataclass(frozen=True)
class SchedulerBinary:
    """A built scheduler: ``digest`` is the SHA-256 of the file at ``path``, ``inputs`` of what made it."""

    path: Path
    digest: str
    inputs: str
    metadata: Path


def load_built(outdir: Path, inputs: str) -> SchedulerBinary | None:
    """What ``outdir`` holds if it was built whole from ``inputs``, else None."""
    metadata = outdir / METADATA
    try:
        known = read_json(metadata, _METADATA_CAP)
        path = outdir / Path(known["binary"]).name
        digest = file_sha256(path)
        whole = (known["inputs_digest"], known["binary_sha256"]) == (inputs, digest)
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return None
    return SchedulerBinary(path, digest, inputs, metadata) if whole else None


def build(inputs: Inputs, kernel_btf: Path | None, outdir: Path, cancel: Cancel | None = None) -> SchedulerBinary:
    """Build the scheduler of ``inputs`` for the kernel whose raw BTF is ``kernel_btf``, into ``outdir``.

    ``load_built`` finds the result again by the digest of ``inputs``. Nothing in ``outdir`` is touched unless the
    build succeeds. Raises InputError for sources that do not compile or a kernel without BTF or sched_ext, HostError
    for tools that are missing or break, Changed for inputs that are not what they were, before or after,
    Cancelled when ``cancel`` is set before it is done.
    """
    inputs.verify()
    btf = _read_btf(kernel_btf)
    outdir = outdir.resolve()
    try:
        outdir.parent.mkdir(parents=True, exist_ok=True)
        with scratch(f".{outdir.name}.", outdir.parent) as temp:
            steps = _Steps(inputs.name, inputs.source, temp, inputs.toolchain, cancel or Cancel())
            warnings = _compile(steps, btf, inputs)
            inputs.keep_unseen(steps.files_read())
            return _publish(steps, outdir, inputs, hashlib.sha256(btf).hexdigest(), warnings)
    except OSError as err:
        raise full_or_denied(err, outdir) from err


def _compile(steps: _Steps, btf: bytes, inputs: Inputs) -> str:
    """The compilers' warnings. Of an edit meanwhile the user is told before what it did to the compilers."""
    try:
        warnings = steps.compile(btf)
    except Cancelled:
        raise
    except KtstrError:
        inputs.verify()
        raise
    inputs.verify()
    return warnings


def _read_btf(kernel_btf: Path | None) -> bytes:
    fix = "choose a kernel with CONFIG_DEBUG_INFO_BTF and CONFIG_SCHED_CLASS_EXT"
    if kernel_btf is None:
        raise InputError("this kernel has no BTF: no scheduler can be built for it", fix=fix)
    try:
        btf = kernel_btf.read_bytes()
    except OSError as err:
        raise InputError(f"{kernel_btf}: {err.strerror}, expected the kernel's BTF") from None
    if b"\0sched_ext_ops\0" not in btf:
        raise InputError(f"{kernel_btf}: found no sched_ext_ops, expected the BTF of a kernel with sched_ext", fix=fix)
    return btf


@dataclass(frozen=True)
class _Steps:
    """One build in ``work``: vmlinux.h, then the BPF object, its skeleton, and the loader."""

    name: str
    source: Path
    work: Path
    toolchain: Toolchain
    cancel: Cancel

    @property
    def binary(self) -> Path:
        return self.work / self.name

    @property
    def bpf_object(self) -> Path:
        return self.work / f"{self.name}.bpf.o"

    def compile(self, btf: bytes) -> str:
        """Run every step; gives the compilers' warnings."""
        self._vmlinux_header(btf)
        warnings = self._bpf_object()
        self._skeleton()
        return warnings + self._loader()

    def files_read(self) -> list[str]:
        """The files of the user's that the compilers read, as they name them from the source folder."""
        depfiles = [self.work / depfile for depfile in (_BPF_DEPFILE, _LOADER_DEPFILE)]
        names = [name for depfile in depfiles for name in prerequisites(os.fsdecode(depfile.read_bytes()))]
        ours = (f"{self.work}{os.sep}", f"{self.toolchain.include}{os.sep}")
        return [name for name in names if not name.startswith(ours)]

    def _vmlinux_header(self, btf: bytes) -> None:
        raw = self.work / "vmlinux.btf"
        raw.write_bytes(btf)
        header = self._bpftool("btf", "dump", "file", str(raw), "format", "c")
        (self.work / "vmlinux.h").write_text(header)

    def _bpf_object(self) -> str:
        source, compiled = f"{self.name}.bpf.c", self.work / "compiled.o"
        flags = [*BPF_FLAGS, *self._paths(), *self._listing(_BPF_DEPFILE)]
        command = [self.toolchain.clang, *flags, "-c", source, "-o", str(compiled)]
        warnings = self._compiler(command, source)
        self._bpftool("gen", "object", str(self.bpf_object), str(compiled))
        return warnings

    def _skeleton(self) -> None:
        identifier = re.sub(r"\W", "_", self.name, flags=re.ASCII)
        text = self._bpftool("gen", "skeleton", str(self.bpf_object), "name", identifier)
        text = fit_skeleton(text, (self.toolchain.include / "bpf" / "libbpf.h").read_text())
        for suffix in (".skel.h", ".bpf.skel.h"):
            (self.work / f"{self.name}{suffix}").write_text(text)

    def _loader(self) -> str:
        source, library = f"{self.name}.c", self.toolchain.library
        link = [f"-L{library}", f"-Wl,-rpath-link={library}", *LINK_FLAGS]
        flags = [*CC_FLAGS, *self._paths(), *self._listing(_LOADER_DEPFILE)]
        command = [self.toolchain.cc, *flags, source, "-o", str(self.binary), *link]
        return self._compiler(command, source)

    def _paths(self) -> list[str]:
        """Include paths, and maps that keep this machine's folders out of the output."""
        own = ["-I.", "-Iinclude"] if (self.source / "include").is_dir() else ["-I."]
        maps = [f"-ffile-prefix-map={self.source}=.", f"-ffile-prefix-map={self.work}=."]
        return [*own, "-isystem", str(self.work), "-isystem", str(self.toolchain.include), *maps]

    def _listing(self, depfile: str) -> list[str]:
        """Options that make a compiler list the files that it reads outside of its own folders."""
        return ["-MMD", "-MT", "all", "-MF", str(self.work / depfile)]

    def _compiler(self, command: Sequence[str], source: str) -> str:
        done = self._run(command)
        if done.status:
            tail = "\n".join(done.errors.splitlines()[-ERROR_LINES:])
            raise InputError(f"{self.source / source} does not compile:\n{tail}", fix="mend the source")
        return done.errors

    def _bpftool(self, *args: str) -> str:
        done = self._run([*self.toolchain.bpftool, *args])
        if done.status:
            errors = done.errors.strip() or f"exit status {done.status}"
            raise HostError(f"bpftool {' '.join(args[:2])} failed for the scheduler {self.name}: {errors}")
        return done.output

    def _run(self, command: Sequence[str]) -> Ended:
        tool = Path(command[0]).name
        try:
            done = run(command, self.toolchain.environ(), self.cancel, cwd=self.source, timeout_s=TOOL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise HostError(f"{tool} did not end within {TOOL_TIMEOUT_S} s on the scheduler {self.name}") from None
        if done.status < 0:
            raise HostError(f"{tool} was killed by signal {-done.status} on the scheduler {self.name}")
        done.check_room(self.work.parent)
        return done


def fit_skeleton(skeleton: str, libbpf_header: str) -> str:
    """Make a skeleton from bpftool 7.5 compile against libbpf 1.4.

    libbpf 1.5 gave struct bpf_map_skeleton a ``link`` (automatic attachment of struct_ops
    maps) and bpftool writes it for any map of that type; loaders attach such maps by
    themselves as well, so an older libbpf loses nothing but the field.
    """
    declared = re.search(r"struct bpf_map_skeleton \{(.*?)\};", libbpf_header, re.DOTALL)
    if declared is None or re.search(r"\blink;", declared[1]):
        return skeleton
    skeleton = re.sub(r"^\s*map->link = .*;\n", "", skeleton, flags=re.MULTILINE)
    skeleton = re.sub(r"map_skel_sz = \d+;", "map_skel_sz = sizeof(*s->maps);", skeleton)
    return skeleton.replace("#define BPF_SKEL_SUPPORTS_MAP_AUTO_ATTACH 1\n", "")


def _publish(steps: _Steps, outdir: Path, inputs: Inputs, btf_digest: str, warnings: str) -> SchedulerBinary:
    """Move the results into place; metadata, the target, goes first and comes last."""
    digest = hashlib.sha256(steps.binary.read_bytes()).hexdigest()
    facts = {
        "schema": SCHEMA,
        "name": steps.name,
        "binary": steps.name,
        "binary_sha256": digest,
        "inputs_digest": inputs.digest,
        "btf_sha256": btf_digest,
        "toolchain": dict(steps.toolchain.versions),
        "warnings": warnings,
    }
    metadata = steps.work / METADATA
    metadata.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    steps.binary.chmod(0o755)
    outdir.mkdir(exist_ok=True)
    (outdir / METADATA).unlink(missing_ok=True)
    for path in (steps.bpf_object, steps.binary, metadata):
        replace_file(path, outdir / path.name)
    return SchedulerBinary(outdir / steps.name, digest, inputs.digest, outdir / METADATA)

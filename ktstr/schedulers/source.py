"""``source:`` schedulers: a folder of C and BPF sources, built for each kernel."""

from __future__ import annotations

from pathlib import Path

from ktstr import resources
from ktstr.errors import Changed, InputError
from ktstr.host.elf import system_folders
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.build import METADATA, build, load_built
from ktstr.schedulers.inputs import read_inputs, record_key
from ktstr.schedulers.runtime import runtime_digest
from ktstr.schedulers.toolchain import find_toolchain

# The libraries that a scheduler built here links to, and what those need.
RUNTIME = ("libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6", "libelf.so.1", "libz.so.1", "libzstd.so.1")


def source_artifact(declared: Path, request: Build) -> Artifact:
    """The artifact of the scheduler whose ``source:`` is ``declared``, for one kernel.

    Raises InputError for a folder that is missing, no scheduler's or unreadable, HostError without the compilers.
    """
    folder, tools = source_folder(declared), request.tools()
    toolchain = find_toolchain(tools, request.environ)
    record = request.cache.entry("includes", record_key(folder, request.environ)) / "files.json"
    inputs = read_inputs(folder, request.kernel_identity, toolchain, record)
    out = request.cache.entry("schedulers", inputs.digest)
    # This machine's libraries first: the bundle's C library is older than a loader compiled here may need.
    system = system_folders()
    libraries = runtime_digest(RUNTIME, system)

    def make() -> None:
        build(inputs, request.btf, out, request.cache.cancel)

    def fresh() -> bool:
        return load_built(out, inputs.digest) is not None

    def verify() -> None:
        if not fresh():
            raise Changed(f"scheduler {inputs.name}: {out}")
        if runtime_digest(RUNTIME, system) != libraries:
            raise Changed(f"scheduler {inputs.name}: a library that it needs")

    return Artifact(
        name=f"{inputs.name}@{request.kernel_label}",
        inputs=inputs.digest,
        libraries=libraries,
        binary=out / inputs.name,
        verify=verify,
        folders=(*system, tools.libbpf_a.parent),
        needs=("tools:bpf", request.kernel_task),
        target=out / METADATA,
        build=make,
        fresh=fresh,
    )


def source_folder(declared: Path) -> Path:
    """The folder a ``source:`` names, else that of the scheduler of its name that comes with ktstr.

    Raises InputError when there is neither.
    """
    if declared.is_dir():
        return declared
    try:
        return resources.scheduler_source(declared.name)
    except InputError as err:
        raise InputError(
            f"scheduler source {declared}: found no such folder; {err.message}", fix="correct source: in ktstr.yaml"
        ) from None

"""Programs that are built once for their inputs and kept in the cache: what all kinds of that have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ktstr.errors import Changed
from ktstr.host.cache import Cache
from ktstr.host.elf import system_folders
from ktstr.schedulers.artifact import Artifact
from ktstr.schedulers.build import METADATA, load_built
from ktstr.schedulers.runtime import runtime_digest

KIND = "schedulers"  # its class in the cache


def kept_artifact(name: str, program: str, inputs: str, runtime: Sequence[str], cache: Cache) -> Artifact:
    """The artifact of the file ``program`` in the entry of ``inputs``; ``build`` is for its kind to say.

    ``runtime``: every library of this machine that it may need. Raises InputError for one that cannot be read.
    """
    out, folders = cache.entry(KIND, inputs), system_folders()
    libraries = runtime_digest(runtime, folders)

    def fresh() -> bool:
        return load_built(out, inputs) is not None

    def verify() -> None:
        if not fresh():
            raise Changed(f"scheduler {name}: {out}")
        if runtime_digest(runtime, folders) != libraries:
            raise Changed(f"scheduler {name}: a library that it needs")

    return Artifact(
        name=name,
        inputs=inputs,
        libraries=libraries,
        binary=out / program,
        verify=verify,
        folders=folders,
        target=out / METADATA,
        fresh=fresh,
    )

"""Which kernels need a newer pahole than a machine may have.

From 7.0 on the kernel has kfuncs with KF_IMPLICIT_ARGS (include/linux/btf.h), whose last argument the verifier adds.
resolve_btfids takes it out of the prototype that BPF programs see, and finds these kfuncs by their BTF_KIND_DECL_TAG,
which pahole writes since 1.26 (scripts/Makefile.btf asks for decl_tag_kfuncs from there on). With an older one such a
kernel builds, boots, and refuses every scheduler: "func_proto incompatible with vmlinux".
"""

from __future__ import annotations

import re

from ktstr.kernels.origin import Origin

IMPLICIT_ARGS_SINCE = 7  # the kernel's major version
IMPLICIT_ARGS_PAHOLE = (1, 26)
_MAJOR = re.compile(r"(\d+)\.")
_MAKEFILE_MAJOR = re.compile(r"^VERSION = (\d+)$", re.MULTILINE)
_MAKEFILE_HEAD = 4096  # bytes; the version is in the first lines


def parse_pahole(version: str) -> tuple[int, int] | None:
    """Major and minor of what ``pahole --version`` prints, such as ``v1.24``; None for anything else."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return None if found is None else (int(found[1]), int(found[2]))


def writes_implicit_args(pahole: str) -> bool:
    """Whether a pahole, as it calls itself, can be used for every kernel."""
    found = parse_pahole(pahole)
    return found is not None and found >= IMPLICIT_ARGS_PAHOLE


def needs_newer(origin: Origin, pahole: str) -> bool:
    """Whether the machine's ``pahole``, as it calls itself, is too old for these sources.

    Sources whose version is not known before they are fetched count as new: a newer pahole does no harm to older ones.
    """
    if writes_implicit_args(pahole):
        return False
    major = _major(origin)
    return major is None or major >= IMPLICIT_ARGS_SINCE


def _major(origin: Origin) -> int | None:
    if origin.tree is None:
        found = None if origin.version is None else _MAJOR.match(origin.version)
    else:
        try:
            with (origin.tree.path / "Makefile").open(encoding="utf-8", errors="replace") as makefile:
                found = _MAKEFILE_MAJOR.search(makefile.read(_MAKEFILE_HEAD))
        except OSError:
            return None
    return None if found is None else int(found[1])

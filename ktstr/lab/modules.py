"""Kernel modules of a distribution's package: what each needs, and the order to load them in.

A package has no ``modules.dep`` (depmod makes it at installation), but each module names what it
needs in its ``.modinfo`` section (scripts/mod/modpost.c: ``depends=a,b``).
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path

from ktstr.errors import HostError
from ktstr.host.elf import BadElf, parse

MAX_MODULE = 64 << 20  # bytes, unpacked
_SUFFIXES = (".ko", ".ko.xz")


def module_files(folder: Path) -> dict[str, Path]:
    """Module name, as the kernel says it (with ``_``), to its file, for all modules below ``folder``."""
    found = {}
    for path in sorted(folder.rglob("*.ko*")):
        stem, dot, rest = path.name.partition(".")
        if dot + rest in _SUFFIXES and path.is_file() and not path.is_symlink():
            found[stem.replace("-", "_")] = path
    return found


def read_module(path: Path) -> bytes:
    """The module, unpacked. Raises HostError for what is no module, or is too large to be one."""
    try:
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.LZMADecompressor(memlimit=1 << 30).decompress(data, MAX_MODULE + 1)
        if len(data) > MAX_MODULE:
            raise HostError(f"kernel module {path.name}: is larger than {MAX_MODULE} bytes")
        depends(data)
    except (OSError, lzma.LZMAError, BadElf) as err:
        raise HostError(f"kernel module {path.name}: {err}", fix="lock_update=lab") from None
    return data


def depends(module: bytes) -> tuple[str, ...]:
    """The modules that must be loaded before this one. Raises BadElf when it is no module."""
    info = parse(module).section(".modinfo")
    if info is None:
        raise BadElf("has no section .modinfo, expected a kernel module")
    for item in info.split(b"\0"):
        key, _, value = item.partition(b"=")
        if key == b"depends":
            return tuple(name.replace("-", "_") for name in value.decode("ascii", "replace").split(",") if name)
    return ()


def load_order(wanted: Sequence[str], files: Mapping[str, Path]) -> dict[str, bytes]:
    """The modules ``wanted`` and all they need, each after what it needs: name to content.

    Raises HostError for one that has no file.
    """
    ordered: dict[str, bytes] = {}
    for name in wanted:
        _add(name, files, ordered, ())
    return ordered


def _add(name: str, files: Mapping[str, Path], ordered: dict[str, bytes], above: tuple[str, ...]) -> None:
    if name in ordered:
        return
    if name in above:
        raise HostError(f"kernel module {name}: needs itself, by way of {', '.join(above)}")
    if name not in files:
        needer = f", which {above[-1]} needs," if above else ""
        raise HostError(f"kernel module {name}{needer} is not in the kernel's package", fix="lock_update=lab")
    data = read_module(files[name])
    for need in depends(data):
        _add(need, files, ordered, (*above, name))
    ordered[name] = data

"""Files of ktstr that are not Python: C sources, schemas, schedulers, templates, pins.

In a checkout they lie beside the package; a wheel carries copies inside it (``setup.py``).
"""

from __future__ import annotations

from pathlib import Path

from ktstr.errors import HostError, InputError

_PACKAGE = Path(__file__).parent
_FIX = "install ktstr again"


def _folder(in_checkout: str, in_wheel: str) -> Path:
    """The wheel's copy when there is one, else the checkout's own. Raises HostError when neither is there."""
    for folder in (_PACKAGE / in_wheel, _PACKAGE.parent / in_checkout):
        if folder.is_dir():
            return folder
    raise HostError(f"{_PACKAGE}: found neither {in_wheel} in it nor {in_checkout} beside it", fix=_FIX)


def c_dir() -> Path:
    """The folder with ``include/`` and ``guest/``. Raises HostError when the installation lacks it."""
    return _folder("vmm_c", "_c")


def kconfig_dir() -> Path:
    """The folder of the kernel configuration fragments. Raises HostError when the installation lacks it."""
    return _folder("kconfig", "_kconfig")


def schema(name: str) -> Path:
    """The JSON Schema ``name``, e.g. "ktstr" or "sidecar". Raises HostError when there is none."""
    path = _folder("schemas", "_schemas") / f"{name}.schema.json"
    if not path.is_file():
        raise HostError(f"{path}: found no such schema in this installation", fix=_FIX)
    return path


def scheduler_source(name: str) -> Path:
    """The source folder of a scheduler that comes with ktstr. Raises InputError naming those there are."""
    folder = _folder("schedulers", "_schedulers")
    known = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if name not in known:
        raise InputError(f"scheduler {name!r}: found none of that name in ktstr, expected one of {', '.join(known)}")
    return folder / name


def include_dir() -> Path:
    """The folder of the declarations that ``include: ktstr:NAME`` means. Raises HostError when it is not there."""
    return _folder("ktstr/include", "include")


def default_lock() -> Path | None:
    """The pins that ktstr comes with, or None when this one was made without."""
    for path in (_PACKAGE / "_lock" / "ktstr.lock", _PACKAGE.parent / "ktstr.lock"):
        if path.is_file():
            return path
    return None


def template(name: str) -> Path:
    """A file that ``ktstr init`` copies. Raises HostError when the installation lacks it."""
    path = _PACKAGE / "template" / name
    if not path.is_file():
        raise HostError(f"{path}: found no such template in this installation", fix=_FIX)
    return path

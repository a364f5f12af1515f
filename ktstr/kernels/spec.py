"""What ``kernel=`` may say, as a sum type: a distribution's prebuilt kernel, or an image file.

The parser is pure: it looks at text and, for a bare word, at whether a file has that name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ktstr.config.suggest import nearest
from ktstr.errors import InputError

FORMS = "default, deb:SUITE/FLAVOUR (deb:forky/cloud-amd64), or the path of a bzImage or vmlinux"
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_FLAVOUR = re.compile(r"[a-z0-9][a-z0-9+.-]{0,63}")
_HTTP = re.compile(r"[a-z+]+://")


@dataclass(frozen=True)
class DebSpec:
    """The kernel that ``linux-image-FLAVOUR`` of a Debian suite stands for."""

    suite: str
    flavour: str

    def __str__(self) -> str:
        return f"deb:{self.suite}/{self.flavour}"


@dataclass(frozen=True)
class ImageSpec:
    """A kernel image file, by absolute path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


Spec: TypeAlias = DebSpec | ImageSpec

# The suite whose cloud kernel has CONFIG_SCHED_CLASS_EXT; those of bookworm have it off.
DEFAULT = DebSpec("forky", "cloud-amd64")


def _deb(text: str) -> DebSpec:
    suite, slash, flavour = text.removeprefix("deb:").partition("/")
    if not slash or not _SUITE.fullmatch(suite) or not _FLAVOUR.fullmatch(flavour):
        raise InputError(f"kernel {text[:80]!r}: expected deb:SUITE/FLAVOUR, such as {DEFAULT}")
    return DebSpec(suite, flavour)


def parse_spec(text: str, folder: Path) -> Spec:
    """Read one kernel spec; relative paths are relative to ``folder``. Raises InputError with the accepted forms.

    ``default`` is the distribution kernel with sched_ext. A word with ``/``, a leading ``.``, or
    the name of a file in ``folder`` is a path.
    """
    if text == "default":
        return DEFAULT
    if text.startswith("deb:"):
        return _deb(text)
    if "\0" in text or "\n" in text or len(text) > 4096:
        raise InputError(f"kernel {text[:40]!r}...: found a control character or too long a text, expected {FORMS}")
    if text and not _HTTP.match(text) and ("/" in text or text.startswith(".") or (folder / text).is_file()):
        return ImageSpec((folder / text).absolute())
    near = nearest(text, ("default", str(DEFAULT), "deb:"))
    hint = f"; nearest is {str(DEFAULT) if near == 'deb:' else near}" if near else ""
    raise InputError(f"kernel {text!r}: found no form of kernel known here{hint}", fix=f"expected {FORMS}")

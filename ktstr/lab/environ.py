"""The environment of a command in the lab."""

from __future__ import annotations

import re
from collections.abc import Mapping

INSIDE = "KTSTR_LAB"  # set to 1 in the lab
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED = re.compile(r"PATH|HOME|LANG|LC_\w+|CC|VIRTUAL_ENV|NO_COLOR|KTSTR_\w+|PYTHON\w+")


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the host's environment what a command in the lab needs; secrets of other programs stay out."""
    return {"PATH": _PATH, **{name: value for name, value in environ.items() if _PASSED.fullmatch(name)}, INSIDE: "1"}


def in_lab(environ: Mapping[str, str]) -> bool:
    """Whether this is the environment of a command in the lab."""
    return environ.get(INSIDE) == "1"

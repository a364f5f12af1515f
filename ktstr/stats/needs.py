"""What statistics and reports need beside ktstr's own requirements: the extra ``reports``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from shlex import quote

from ktstr.errors import HostError

# What the extra in pyproject.toml brings, by the names under which it is imported; a test compares.
REPORTS = ("jinja2", "pyarrow", "scipy")


def need_reports() -> None:
    """Raise HostError, naming the command that helps, unless all of the extra is installed."""
    missing = [name for name in REPORTS if find_spec(name) is None]
    wrapper = os.environ.get("KTSTR_CALLED_AS")  # a checkout's ./doit, which sets itself up for the tasks it is given
    if missing:
        raise HostError(
            f"this task needs {', '.join(missing)}, which ktstr installs only when asked to",
            fix=f"{quote(wrapper)} stats" if wrapper else "pip install 'ktstr[reports]'",
        )

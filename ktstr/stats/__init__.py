"""What many runs say: pools of results as tables, comparison, and reports.

``load_pool`` is public: it stays as it is described in docs/stats.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktstr.stats.pool import Pool as Pool
    from ktstr.stats.pool import load_pool as load_pool
    from ktstr.stats.pool import load_run as load_run

__all__ = ["Pool", "load_pool", "load_run"]


def __getattr__(name: str) -> object:
    """The public names, with which pandas and the Parquet reader come; the lists of runs do without both."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ktstr.stats import pool

    return getattr(pool, name)

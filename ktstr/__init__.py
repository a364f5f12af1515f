"""ktstr: a build graph that boots kernels and judges process schedulers."""

from __future__ import annotations

__version__ = "0.1.0"

"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """How fast a host is, and what else it does, decides no property: no example of hypothesis has a deadline."""
    if not config.pluginmanager.has_plugin("hypothesispytest"):
        return  # in the lab, where importing it takes seconds
    from hypothesis import HealthCheck, settings

    settings.register_profile("any_host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any_host")


# What takes longest begins first, so that no process is left alone with it at the end.
_FIRST = ("e2e", "introspect", "vm", "c")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    items.sort(key=lambda item: _rank(item.path.relative_to(here).parts[0]))


def _rank(folder: str) -> int:
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)

"""What holds for all tests."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """How fast a host is, and what else it does, decides no property: no example of hypothesis has a deadline."""
    if not config.pluginmanager.has_plugin("hypothesispytest"):
        return  # in the lab, where importing it takes seconds
    from hypothesis import HealthCheck, settings

    settings.register_profile("any_host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any_host")

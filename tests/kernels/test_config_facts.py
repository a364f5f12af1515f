"""The tick and the preemption model, from .config texts as kconfig writes them (kernel/Kconfig.preempt)."""

from __future__ import annotations

import pytest

from ktstr.kernels.config_facts import ConfigFacts, config_facts


@pytest.mark.parametrize(
    ("text", "hz", "preempt"),
    [
        ("CONFIG_HZ_250=y\nCONFIG_HZ=250\nCONFIG_PREEMPT_VOLUNTARY=y\n", 250, "voluntary"),
        ("CONFIG_HZ=1000\nCONFIG_PREEMPT_BUILD=y\nCONFIG_PREEMPT=y\nCONFIG_PREEMPT_DYNAMIC=y\n", 1000, "dynamic:full"),
        ("CONFIG_HZ=100\n# CONFIG_PREEMPT is not set\nCONFIG_PREEMPT_NONE=y\n", 100, "none"),
        ("CONFIG_HZ=300\nCONFIG_PREEMPT_LAZY=y\nCONFIG_PREEMPT_DYNAMIC=y\n", 300, "dynamic:lazy"),
        ("CONFIG_HZ=250\nCONFIG_PREEMPT_LAZY=y\nCONFIG_PREEMPT_RT=y\nCONFIG_PREEMPT_DYNAMIC=y\n", 250, "rt"),
        ("CONFIG_HZ_250=y\n", None, None),
        ("", None, None),
    ],
)
def test_hz_and_preemption_are_read_as_kconfig_writes_them(text: str, hz: int | None, preempt: str | None) -> None:
    assert config_facts(text) == ConfigFacts(hz, preempt)


def test_nothing_is_known_of_a_kernel_without_its_configuration() -> None:
    assert config_facts(None) == ConfigFacts(None, None)

"""What a kernel's configuration says about scheduling: the tick and the preemption model."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HZ = re.compile(r"^CONFIG_HZ=(\d{1,5})$", re.MULTILINE)
# kernel/Kconfig.preempt, the strongest first: PREEMPT_RT selects PREEMPTION beside one of the others.
_MODELS = (
    ("CONFIG_PREEMPT_RT", "rt"),
    ("CONFIG_PREEMPT", "full"),
    ("CONFIG_PREEMPT_LAZY", "lazy"),
    ("CONFIG_PREEMPT_VOLUNTARY", "voluntary"),
    ("CONFIG_PREEMPT_NONE", "none"),
)


@dataclass(frozen=True)
class ConfigFacts:
    """``hz``: ticks a second. ``preempt``: none, voluntary, lazy, full or rt; ``dynamic:`` before it says
    that ``preempt=`` on the kernel's command line can change it."""

    hz: int | None
    preempt: str | None


def config_facts(text: str | None) -> ConfigFacts:
    """Read a ``.config``; what it does not say is None."""
    if text is None:
        return ConfigFacts(None, None)
    lines = set(text.splitlines())
    hz = _HZ.search(text)
    model = next((name for symbol, name in _MODELS if f"{symbol}=y" in lines), None)
    if model is not None and model != "rt" and "CONFIG_PREEMPT_DYNAMIC=y" in lines:
        model = f"dynamic:{model}"
    return ConfigFacts(int(hz[1]) if hz else None, model)

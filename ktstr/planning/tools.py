"""The steps that fetch the private tools of one plan."""

from __future__ import annotations

from ktstr.pins.lock import Pin
from ktstr.planning.kernel import Archive
from ktstr.planning.pins import Pins
from ktstr.planning.steps import Step, Steps
from ktstr.tools import bundle
from ktstr.tools.pinned import (
    PAHOLE,
    BpfTools,
    Tool,
    bpf_tool,
    ensure_bpf,
    ensure_qemu,
    lookup_bpf,
    lookup_qemu,
    qemu_tool,
    tool_metadata,
)


class ToolSteps:
    """The private tools as they are or will be in the cache: a tool's digest is its pin's either way."""

    def __init__(self, archive: Archive, pins: Pins, steps: Steps) -> None:
        self._cache, self._apt, self._pins, self._steps = archive.cache, archive.apt, pins, steps

    def qemu(self) -> Tool:
        """QEMU, and its step. Raises HostError when it is not pinned and the archive cannot be asked."""
        pin = self._pins.tool("qemu", self._apt)
        self._steps.add(
            Step(
                "tools",
                "qemu",
                tool_metadata("qemu", pin, self._cache),
                lambda: ensure_qemu(pin, self._cache, self._apt),
                fresh=lambda: lookup_qemu(pin, self._cache),
            )
        )
        return qemu_tool(self._planned("qemu", pin))

    def bpf(self) -> BpfTools:
        """The BPF tools, and their step. Raises as ``qemu``."""
        pin = self._pins.tool("bpf", self._apt)
        self._steps.add(
            Step(
                "tools",
                "bpf",
                tool_metadata("bpf", pin, self._cache),
                lambda: ensure_bpf(pin, self._cache, self._apt),
                fresh=lambda: lookup_bpf(pin, self._cache),
            )
        )
        return bpf_tool(self._planned("bpf", pin))

    def pahole(self) -> bundle.Bundle:
        """pahole for kernels that need a newer one than this machine's, and its step. Raises as ``qemu``."""
        pin = self._pins.tool("pahole", self._apt)
        self._steps.add(
            Step(
                "tools",
                "pahole",
                tool_metadata("pahole", pin, self._cache),
                lambda: bundle.ensure(PAHOLE, pin, self._cache, self._apt),
                fresh=lambda: bundle.lookup(PAHOLE, pin, self._cache),
            )
        )
        return self._planned("pahole", pin)

    def _planned(self, name: str, pin: Pin) -> bundle.Bundle:
        return bundle.Bundle(name, self._cache.entry("tools", pin.digest), pin.version, pin.digest)

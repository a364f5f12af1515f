"""How long a scheduler may take to attach follows the machine's speed."""

from __future__ import annotations

import pytest

from ktstr.config.topology import Topology
from ktstr.vm.loading import attach_timeout_ns

S = 1_000_000_000


@pytest.mark.parametrize(
    ("accel", "label", "seconds"),
    [
        ("kvm", "1n1l4c1t", 30),
        ("kvm", "2n8l8c2t", 30),
        ("icount", "1n1l1c1t", 245),  # shift 3: 30 x 8 x 49/48
        ("icount", "1n2l2c1t", 260),  # shift 3: 30 x 8 x 52/48
        ("icount", "1n1l8c1t", 140),  # shift 2: 30 x 4 x 56/48
        ("icount", "1n4l4c1t", 80),  # shift 1: 30 x 2 x 64/48
        ("icount", "2n4l8c1t", 50),  # shift 0: 30 x 1 x 80/48
        ("tcg", "1n4l4c1t", 240),
    ],
)
def test_the_default_is_in_proportion_to_what_an_instruction_takes(accel: str, label: str, seconds: float) -> None:
    assert attach_timeout_ns(accel, Topology.parse(label)) == seconds * S


def test_scx_lavd_has_time_to_attach_where_it_was_measured() -> None:
    """121 s of guest time on four vCPUs at shift 3."""
    assert attach_timeout_ns("icount", Topology.parse("1n2l2c1t")) > 2 * 121 * S

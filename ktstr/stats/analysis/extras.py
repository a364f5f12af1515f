"""What a pool has no columns for: a run's BPF programs and KVM's own counters, read from its sidecars again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ktstr.errors import HostError
from ktstr.files import reason
from ktstr.record.codec import ready
from ktstr.record.sidecar import KvmStats, ProgStats, VerifierStats


class _Monitor(Struct, frozen=True):
    prog_stats_deltas: tuple[ProgStats, ...] | UnsetType = UNSET


class _Sidecar(Struct, frozen=True):
    """The few fields of a sidecar that are wanted here; the pool has checked the file in full."""

    test_name: str
    topology: str
    verifier_stats: tuple[VerifierStats, ...]
    kvm_stats: KvmStats | None
    monitor: _Monitor | None


@dataclass(frozen=True)
class Extras:
    """Of one sidecar. ``kvm``: each vCPU's counters, None unless KVM ran it."""

    scenario: str
    topology: str
    verified: tuple[VerifierStats, ...]
    callbacks: tuple[ProgStats, ...]
    kvm: tuple[dict[str, int], ...] | None


def read_extras(paths: Iterable[str]) -> tuple[Extras, ...]:
    """Of each file, in order. Raises HostError for one that is not what it was when the pool was loaded."""
    decoder = msgspec.json.Decoder(ready(_Sidecar))
    return tuple(_read(Path(path), decoder) for path in paths)


def _read(path: Path, decoder: msgspec.json.Decoder[_Sidecar]) -> Extras:
    try:
        found = decoder.decode(path.read_bytes())
    except OSError as err:
        raise HostError(f"{path}: cannot be read any more: {reason(err)}", fix="run the command again") from err
    except msgspec.MsgspecError as err:
        raise HostError(f"{path}: changed while it was read: {err}", fix="run the command again") from err
    deltas = UNSET if found.monitor is None else found.monitor.prog_stats_deltas
    return Extras(
        scenario=found.test_name,
        topology=found.topology,
        verified=found.verifier_stats,
        callbacks=() if deltas is UNSET else deltas,
        kvm=None if found.kvm_stats is None else found.kvm_stats.per_vcpu,
    )

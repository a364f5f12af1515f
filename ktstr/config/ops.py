"""The ops that a step declares, as plain frozen values. The agent's own are ``scenarios.program``.

Cgroups, payloads and tests are named as declared; ``where``: file:line:col and field of the op.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ktstr.config.scenario import Affinity, Cgroup, Controls, Cpuset, Work


@dataclass(frozen=True, kw_only=True)
class _Placed:
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class AddCgroup(_Placed):
    """``add_cgroup``: make a cgroup without workers."""

    cgroup: Cgroup


@dataclass(frozen=True)
class RemoveCgroup(_Placed):
    """``remove_cgroup``: kill what is in it, and all below it, and remove it."""

    cgroup: str


@dataclass(frozen=True)
class SetCpuset(_Placed):
    """``set_cpuset``: change its cpuset."""

    cgroup: str
    cpuset: Cpuset


@dataclass(frozen=True)
class ClearCpuset(_Placed):
    """``clear_cpuset``: it has the CPUs of its parent from then on."""

    cgroup: str


@dataclass(frozen=True)
class SwapCpusets(_Placed):
    """``swap_cpusets``: each of two cgroups gets the other's cpuset."""

    a: str
    b: str


@dataclass(frozen=True)
class SetControls(_Placed):
    """``set``: write to files of a cgroup, such as cpu.max."""

    cgroup: str
    controls: Controls


@dataclass(frozen=True)
class Freeze(_Placed):
    """``freeze`` and ``unfreeze``: stop all that is in a cgroup, or let it go on."""

    cgroup: str
    frozen: bool


@dataclass(frozen=True)
class Spawn(_Placed):
    """``spawn``: workers in a cgroup; ``spawn_host``: in the agent's own, ``cgroup`` None."""

    cgroup: str | None
    work: Work


@dataclass(frozen=True)
class StopWorkers(_Placed):
    """``stop``: end the workers and payloads of a cgroup, which stays."""

    cgroup: str


@dataclass(frozen=True)
class SetAffinity(_Placed):
    """``set_affinity``: of the workers of a cgroup."""

    cgroup: str
    affinity: Affinity


@dataclass(frozen=True)
class MoveTasks(_Placed):
    """``move_tasks``: all workers of one cgroup into another."""

    source: str
    target: str


@dataclass(frozen=True)
class Hotplug(_Placed):
    """``offline`` and ``online``: CPUs."""

    cpus: Cpuset
    online: bool


@dataclass(frozen=True)
class RunPayload(_Placed):
    """``run``: start a payload, in a cgroup or in the agent's own. ``args``: over those that it declares; None for
    those."""

    payload: str
    cgroup: str | None = None
    args: tuple[str, ...] | None = None


@dataclass(frozen=True)
class WaitPayload(_Placed):
    """``wait``: for its end, at most for ``timeout_ns``. ``cgroup`` None: the one that runs."""

    payload: str
    cgroup: str | None = None
    timeout_ns: int = 60_000_000_000


@dataclass(frozen=True)
class KillPayload(_Placed):
    """``kill``: end it and its process group."""

    payload: str
    cgroup: str | None = None


Op: TypeAlias = (
    AddCgroup
    | RemoveCgroup
    | SetCpuset
    | ClearCpuset
    | SwapCpusets
    | SetControls
    | Freeze
    | Spawn
    | StopWorkers
    | SetAffinity
    | MoveTasks
    | Hotplug
    | RunPayload
    | WaitPayload
    | KillPayload
)

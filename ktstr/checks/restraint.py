"""What a scenario itself keeps its workers off CPU by: ``cpu.max``, the freezer, and CPUs that it takes offline.

Whatever these take is no scheduler's doing. They are read from the agent's own account: each write to a file of a
cgroup is a stimulus that says which (in a Repeat, of its first pass), and each CPU's ``online`` file was read back.

A cgroup with quota q in period p, whose n workers (and payloads) can use c = min(n, CPUs) CPUs at once, and q / p < c:

- pause     it is off CPU at a time for up to p - q / c, and for c * TICK * p / q more, since what its tasks run beyond
            the quota until the next tick on each CPU is a debt (runtime_remaining of kernel/sched/fair.c).
- stretch   while it waits for others of its cgroup, these are off CPU likewise: a wait of w takes w * c * p / q.
            1 for a worker that is alone.

So a gap, a wake latency or a wait may be limit * stretch + pause + the longest time that the cgroup was frozen. Of
several cgroups on the way up, pauses add up and the longest stretch counts. Off-CPU shares may be apart by
1 - q / (c * p), and by what it was frozen, of the wall time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ktstr.checks.formulas import MS
from ktstr.checks.model import Group
from ktstr.checks.settings import Setting
from ktstr.record.guest import GuestRecord, Stimulus

TICK_NS = 10 * MS  # at CONFIG_HZ=100, the longest there is
THAW_NS = 10 * MS  # from the write that unfreezes until the last task goes on
_WEIGHTS = frozenset({"cpu.weight", "cpu.weight.nice", "cpu.idle"})
_PERIOD_US = 100_000  # the kernel's own, where none is written
_WRITTEN = re.compile(r"(\S+) (cpu\.[a-z.]+|cgroup\.freeze|cpuset\.cpus\.partition)=(.*)", re.DOTALL)
_ONLINE = re.compile(r"/sys/devices/system/cpu/cpu(\d{1,5})/online")
_DECIDE_SHARES = frozenset({"WriteCgroup", "SetCpus", "ClearCpus", "SetAffinity", "Move"})


@dataclass(frozen=True)
class Quota:
    """What was written to a cgroup's cpu.max, if it is a limit."""

    cgroup: str
    quota_us: int
    period_us: int


@dataclass(frozen=True)
class Stretch:
    """A time, in the guest's ns since the scenario began."""

    begin_ns: int
    end_ns: int

    def overlap_ns(self, begin_ns: int, end_ns: int) -> int:
        """How much of another time is in it."""
        return max(0, min(self.end_ns, end_ns) - max(self.begin_ns, begin_ns))


@dataclass(frozen=True)
class Restraint:
    """What may have kept the workers of one group off CPU, whoever scheduled them. ``cgroups``: whose limits.

    ``share``: the part of their time that cpu.max may take from one and not from another. ``frozen``: when;
    ``frozen_again``: and in a Repeat, for how long is not known.
    """

    cgroups: tuple[str, ...] = ()
    pause_ns: float = 0.0
    stretch: float = 1.0
    share: float = 0.0
    frozen: tuple[Stretch, ...] = ()
    frozen_again: bool = False

    @property
    def longest_freeze_ns(self) -> int:
        return max((one.end_ns - one.begin_ns for one in self.frozen), default=0)

    @property
    def frozen_ns(self) -> int:
        """All the time that it was frozen."""
        return sum(one.end_ns - one.begin_ns for one in self.frozen)

    def frozen_within(self, begin_ns: int, end_ns: int) -> int:
        """The part of a time that it was frozen."""
        return sum(one.overlap_ns(begin_ns, end_ns) for one in self.frozen)

    def lengthened(self, limit_ns: float) -> float:
        """How long a wait may be that a limit allows."""
        return limit_ns * self.stretch + self.pause_ns + self.longest_freeze_ns

    def words(self, limit_ns: float) -> str:
        """What a message adds to a limit: how much longer it is here, and why; empty for nothing."""
        longer = self.lengthened(limit_ns)
        if longer <= limit_ns:
            return ""
        return f", lengthened to {longer / MS:.3f} ms by {self.cause}"

    @property
    def cause(self) -> str:
        """What keeps them off CPU, in words."""
        quotas = [f"cpu.max of {', '.join(self.cgroups)}"] if self.cgroups else []
        freezer = ["the freezer"] if self.frozen or self.frozen_again else []
        return " and ".join([*quotas, *freezer])

    def excuse(self) -> str | None:
        """Why a long wait says nothing at all; None when it does."""
        return "it was frozen again and again, for how long is not known" if self.frozen_again else None


FREE = Restraint()


@dataclass(frozen=True)
class Restraints:
    """Those of a whole run. ``cpus``: the guest's CPUs, 0 where it did not tell.

    ``frozen``: by cgroup; ``again``: the cgroups that a Repeat froze; ``offline``: by CPU. ``moved``: workers may have
    been in any cgroup. ``crowded``: payloads ran, in whatever cgroup. ``uneven``: what decides shares was written, or
    CPUs changed, so that tasks cannot be compared by number. ``idle``: cgroups with cpu.idle. ``bursts``:
    the largest cpu.max.burst of each cgroup that has one, in us. ``isolated``: CPUs that no load is balanced to
    (isolcpus); ``partitions``: cgroups within which none is (cpuset.cpus.partition). ``weighted``: weights were
    written, so that workers have neighbours of unequal weight.
    """

    cpus: int = 0
    quotas: tuple[Quota, ...] = ()
    frozen: Mapping[str, tuple[Stretch, ...]] = field(default_factory=dict)
    again: frozenset[str] = frozenset()
    offline: Mapping[int, tuple[Stretch, ...]] = field(default_factory=dict)
    moved: bool = False
    crowded: bool = False
    uneven: bool = False
    idle: frozenset[str] = frozenset()
    bursts: Mapping[str, int] = field(default_factory=dict)
    isolated: frozenset[int] = frozenset()
    partitions: frozenset[str] = frozenset()
    weighted: bool = False

    def of(self, group: Group, groups: Iterable[Group]) -> Restraint:
        """What kept ``group`` off CPU; ``groups``: all there are."""
        return self._restraint(lambda cgroup: self.moved or group.is_below(cgroup), tuple(groups))

    def of_path(self, path: str | None, groups: Iterable[Group]) -> Restraint:
        """The same of a task in a cgroup by its path below the root, None where that is not known."""
        return self._restraint(lambda cgroup: self.moved or _is_within(path, cgroup), tuple(groups))

    def is_unbalanced(self, path: str | None) -> bool:
        """Whether a task in such a cgroup may be in an isolated partition."""
        return any(_is_within(path, cgroup) for cgroup in self.partitions)

    def throttles(self, path: str | None) -> bool:
        """Whether a task in such a cgroup may be throttled."""
        return bool(self.quotas) and any(self.moved or _is_within(path, quota.cgroup) for quota in self.quotas)

    def _restraint(self, concerns: Callable[[str], bool], groups: Sequence[Group]) -> Restraint:
        if not self.quotas and not self.frozen:
            return FREE
        limits = [(quota, self._concurrent(quota.cgroup, groups)) for quota in self.quotas if concerns(quota.cgroup)]
        strict = [(quota, some) for quota, some in limits if quota.quota_us < quota.period_us * some.cpus]
        pauses: dict[str, float] = {}
        for quota, some in strict:
            pauses[quota.cgroup] = max(pauses.get(quota.cgroup, 0.0), _pause_ns(quota, some.cpus))
        return Restraint(
            tuple(pauses),
            sum(pauses.values()),
            max((some.cpus * q.period_us / q.quota_us for q, some in strict if some.tasks > 1), default=1.0),
            max((1 - q.quota_us / (some.cpus * q.period_us) for q, some in strict), default=0.0),
            _union(time for cgroup, times in self.frozen.items() if concerns(cgroup) for time in times),
            any(map(concerns, self.again)),
        )

    def _concurrent(self, cgroup: str, groups: Sequence[Group]) -> _Concurrent:
        tasks = sum(group.workers for group in groups if self.moved or group.is_below(cgroup))
        if self.crowded:
            tasks = max(tasks + 1, self.cpus)
        return _Concurrent(max(1, tasks), max(1, min(tasks, self.cpus or tasks)))

    def ever_offline(self) -> frozenset[int]:
        return frozenset(self.offline)

    def disturbs(self, begin_ns: int, end_ns: int) -> bool:
        """Whether CPUs were offline or apart, anything was frozen, moved or run beside the workers in a time."""
        if self.isolated or self.partitions:
            return True
        times = (*self.offline.values(), *self.frozen.values())
        return self.moved or self.crowded or any(t.overlap_ns(begin_ns, end_ns) for some in times for t in some)

    def offline_at(self, at_ns: int) -> frozenset[int]:
        """The CPUs that were offline at a moment, or about to be."""
        return frozenset(
            cpu for cpu, times in self.offline.items() if any(one.begin_ns <= at_ns <= one.end_ns for one in times)
        )


@dataclass(frozen=True)
class _Concurrent:
    """How many tasks a cgroup has, and on how many CPUs they can be at once."""

    tasks: int
    cpus: int


NONE = Restraints()


def _is_within(path: str | None, cgroup: str) -> bool:
    """Whether a path below the root is of a cgroup of the test's, or below it, wherever the test's own cgroup is."""
    return path is None or f"/{cgroup}/" in f"{path}/"


def _pause_ns(quota: Quota, cpus: int) -> float:
    off_us = quota.period_us - quota.quota_us / cpus
    return off_us * 1000 + cpus * TICK_NS * quota.period_us / quota.quota_us


def _union(times: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """The same times without overlaps, in order."""
    found: list[Stretch] = []
    for one in sorted(times, key=lambda one: one.begin_ns):
        if found and one.begin_ns <= found[-1].end_ns:
            found[-1] = Stretch(found[-1].begin_ns, max(found[-1].end_ns, one.end_ns))
        else:
            found.append(one)
    return tuple(found)


@dataclass(frozen=True)
class _Write:
    """One write to a file of a cgroup. ``again``: a Repeat made it more than once."""

    at_ns: int
    cgroup: str
    file: str
    text: str
    again: bool


def restraints(
    guest: GuestRecord, settings: Mapping[int, Setting], offline: Iterable[int] = (), isolated: Iterable[int] = ()
) -> Restraints:
    """What the scenario did; ``settings``: what was read back, by the op that read; ``offline``: before it began;
    ``isolated``: by isolcpus."""
    writes = _writes(guest.stimuli)
    end_ns = max((s.at_ns for s in guest.stimuli), default=0) if guest.end_ns is None else guest.end_ns
    freezes = [write for write in writes if write.file == "cgroup.freeze"]
    hotplug = _offline(guest, settings, offline, end_ns)
    changed = any(stimulus.op in _DECIDE_SHARES for stimulus in guest.stimuli)
    return Restraints(
        len(guest.cpus),
        tuple(quota for write in writes if write.file == "cpu.max" and (quota := _quota(write)) is not None),
        {name: _frozen([w for w in freezes if w.cgroup == name], end_ns) for name in {w.cgroup for w in freezes}},
        frozenset(write.cgroup for write in freezes if write.again),
        hotplug,
        any(stimulus.op == "Move" for stimulus in guest.stimuli),
        bool(guest.payload_events),
        changed or bool(hotplug),
        frozenset(write.cgroup for write in writes if write.file == "cpu.idle" and write.text != "0"),
        _bursts(writes),
        frozenset(isolated),
        frozenset(w.cgroup for w in writes if w.file == "cpuset.cpus.partition" and w.text == "isolated"),
        any(w.file in _WEIGHTS for w in writes),
    )


def _writes(stimuli: Sequence[Stimulus]) -> list[_Write]:
    repeats = [s.index for s in stimuli if s.op == "Repeat" and (s.iteration or 0) > 1 and s.index is not None]
    found = []
    for stimulus in stimuli:
        match = _WRITTEN.fullmatch(stimulus.detail) if stimulus.op == "WriteCgroup" else None
        if match is not None:
            again = any(repeat < (stimulus.index or 0) for repeat in repeats)
            found.append(_Write(stimulus.at_ns, match[1], match[2], match[3].strip(), again))
    return found


def _quota(write: _Write) -> Quota | None:
    """None for no limit."""
    words = write.text.split()
    if not words or not all(word.isdecimal() for word in words) or int(words[0]) == 0:
        return None
    return Quota(write.cgroup, int(words[0]), int(words[1]) if len(words) > 1 else _PERIOD_US)


def _bursts(writes: Sequence[_Write]) -> dict[str, int]:
    found: dict[str, int] = {}
    for write in writes:
        if write.file == "cpu.max.burst" and write.text.isdecimal():
            found[write.cgroup] = max(found.get(write.cgroup, 0), int(write.text))
    return found


def _frozen(writes: Sequence[_Write], end_ns: int) -> tuple[Stretch, ...]:
    """The times in which one cgroup was frozen."""
    found: list[Stretch] = []
    since: int | None = None
    for write in writes:
        if write.text == "1" and since is None:
            since = write.at_ns
        elif write.text == "0" and since is not None:
            found.append(Stretch(since, write.at_ns + THAW_NS))
            since = None
    return tuple(found) if since is None else (*found, Stretch(since, max(since, end_ns)))


@dataclass(frozen=True)
class _Switch:
    """A CPU that was taken offline or brought back: from the write until that was read. ``scope``: of the op."""

    cpu: int
    online: bool
    begin_ns: int
    end_ns: int
    scope: int


def _offline(
    guest: GuestRecord, settings: Mapping[int, Setting], before: Iterable[int], end_ns: int
) -> dict[int, tuple[Stretch, ...]]:
    """By CPU, when it was offline: from the write that was to take it, until it was read to be back. At the end of its
    step it is as it was before."""
    switches = _switches(guest, settings)
    found: dict[int, tuple[Stretch, ...]] = {}
    for cpu in {*before, *(one.cpu for one in switches)}:
        own = [one for one in switches if one.cpu == cpu]
        times = _times_offline(own, guest.stimuli, cpu in before, end_ns)
        if times:
            found[cpu] = times
    return found


def _switches(guest: GuestRecord, settings: Mapping[int, Setting]) -> list[_Switch]:
    found = []
    for read in guest.reads or ():
        match = _ONLINE.fullmatch(settings[read.op].path) if read.op in settings else None
        if match is not None:
            scope = next((s.scope or 0 for s in guest.stimuli if s.index == read.op), 0)
            begin_ns = _written_at(guest.stimuli, match[0], read.at_ns)
            found.append(_Switch(int(match[1]), read.text.strip() != "0", begin_ns, read.at_ns, scope))
    return found


def _times_offline(
    switches: Sequence[_Switch], stimuli: Sequence[Stimulus], offline: bool, end_ns: int
) -> tuple[Stretch, ...]:
    """Of one CPU, which was ``offline`` before."""
    every: list[_Switch] = []
    online = not offline
    for place, one in enumerate(switches):
        every.append(one)
        follows = switches[place + 1] if place + 1 < len(switches) else None
        if not one.scope:
            online = one.online
        elif (follows is None or follows.scope != one.scope) and one.online is not online:
            over_ns = _scope_end(stimuli, one, end_ns)
            every.append(_Switch(one.cpu, online, over_ns, over_ns, 0))
    since = 0 if offline else None
    found: list[Stretch] = []
    for one in every:
        if not one.online and since is None:
            since = one.begin_ns
        elif one.online and since is not None:
            found.append(Stretch(since, one.end_ns))
            since = None
    return tuple(found) if since is None else (*found, Stretch(since, max(since, end_ns)))


def _scope_end(stimuli: Sequence[Stimulus], switch: _Switch, end_ns: int) -> int:
    """When the step of an op was over: before the next op outside of it began."""
    later = (s.at_ns for s in stimuli if s.at_ns >= switch.end_ns and (s.scope or 0) != switch.scope)
    return min(later, default=max(end_ns, switch.end_ns))


def _written_at(stimuli: Sequence[Stimulus], path: str, read_ns: int) -> int:
    """When a file was last written before it was read; when it was read where no write was told."""
    return max(
        (s.at_ns for s in stimuli if s.op == "Write" and s.detail == path and s.at_ns <= read_ns), default=read_ns
    )

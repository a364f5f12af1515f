"""The build steps of one plan: what makes each artifact, once, and the file that proves it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FAMILIES = ("tools", "vmm", "agent", "source", "kernel", "scheduler", "image")


@dataclass(frozen=True)
class Step:
    """A build step: its file target, what it needs, how to make it and whether it is fresh.

    ``make``'s and ``fresh``'s results are of no interest but that ``fresh`` gives None for what has to be made.
    """

    family: str
    name: str
    target: Path
    make: Callable[[], object]
    needs: tuple[str, ...] = ()
    fresh: Callable[[], object] | None = None

    @property
    def task(self) -> str:
        """The task's name in the graph."""
        return f"{self.family}:{self.name}" if self.name else self.family

    def is_fresh(self) -> bool:
        """Whether nothing has to be made. ``fresh`` decides for what can be damaged, else the target's being there."""
        return self.target.is_file() if self.fresh is None else self.fresh() is not None


class Steps:
    """Steps by family, in the order in which they were added."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, Step]] = {family: {} for family in FAMILIES}

    def __getitem__(self, family: str) -> tuple[Step, ...]:
        return tuple(self._steps[family].values())

    def __iter__(self) -> Iterator[Step]:
        return (step for steps in self._steps.values() for step in steps.values())

    def add(self, step: Step) -> str:
        """Add a step and give its task's name.

        Two names for one target are one step; one name for two targets gets a part of the second's digest.
        """
        steps = self._steps[step.family]
        for known in steps.values():
            if known.target == step.target:
                return known.task
        name = step.name
        if name in steps:
            name += f"-{hashlib.sha256(str(step.target).encode()).hexdigest()[:8]}"
        steps[name] = Step(step.family, name, step.target, step.make, step.needs, step.fresh)
        return steps[name].task


def closure(steps: Iterable[Step], names: Iterable[str]) -> list[str]:
    """The named tasks and everything they need, nearest first."""
    needs: Mapping[str, tuple[str, ...]] = {step.task: step.needs for step in steps}
    reached: dict[str, None] = {}
    queue = list(names)
    while queue:
        name = queue.pop(0)
        if name not in reached:
            reached[name] = None
            queue += needs.get(name, ())
    return list(reached)

"""doit's own program, without the commands that packages register: ours under these names would start us again.

Its order of tasks is another: what a finished task was needed for comes next. doit itself would first do all that any
task needs: every machine would be made before the first cell of any ran.
"""

from __future__ import annotations

from typing import Any

from doit.cmd_run import Run as DoitRun  # type: ignore[import-untyped]
from doit.control import TaskDispatcher  # type: ignore[import-untyped]
from doit.doit_cmd import DoitMain  # type: ignore[import-untyped]
from doit.plugin import PluginDict  # type: ignore[import-untyped]


class Doit(DoitMain):  # type: ignore[misc]
    """doit with its core commands."""

    def get_cmds(self) -> Any:
        commands = PluginDict()
        for command in self.DOIT_CMDS:
            commands[command.get_name()] = Run if command is DoitRun else command
        return commands


class Run(DoitRun):  # type: ignore[misc]
    """``doit run`` in our order."""

    @property
    def control(self) -> Any:
        return self._control

    @control.setter
    def control(self, control: Any) -> None:
        """doit sets this before it asks it for a dispatcher."""
        control.task_dispatcher = lambda: NearestFirst(control.tasks, control.targets, control.selected_tasks)
        self._control = control


class NearestFirst(TaskDispatcher):  # type: ignore[misc]
    """Tasks that have become ready go before those that were not looked at yet, in the order they were declared in."""

    def __init__(self, tasks: Any, targets: Any, selected: Any) -> None:
        super().__init__(tasks, targets, selected)
        self._places = {name: place for place, name in enumerate(tasks)}

    def _update_waiting(self, processed: Any) -> None:
        before = len(self.ready)
        super()._update_waiting(processed)
        resumed = [self.ready.pop() for _ in range(len(self.ready) - before)]
        self.ready.extendleft(sorted(resumed, key=lambda node: -self._places.get(node.task.name, 0)))

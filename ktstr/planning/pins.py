"""The pins of one plan: ``ktstr.lock`` over the one that comes with ktstr, and what is pinned anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.config.project import Project
from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.host.apt import Apt
from ktstr.host.flock import locked
from ktstr.pins.lock import AnyPin, Lock, Pin, read_lock, write_lock
from ktstr.tools.pinned import resolve_tool


def project_pins(project: Project, updates: Collection[str] = (), cancel: Cancel | None = None) -> Pins:
    """The pins of a project."""
    return Pins(project.lock, project.locks / f"{project.lock.name}.lock", updates, cancel)


class Pins:
    """What names mean. Whatever is resolved here is written to the project's lock file at once.

    ``path`` is that file, ``guard`` the one that is locked while it changes; ``updates`` are the names that
    ``lock_update=`` asks for anew; ``cancel`` ends the wait for ``guard``.
    """

    def __init__(self, path: Path, guard: Path, updates: Collection[str] = (), cancel: Cancel | None = None) -> None:
        self._path, self._guard, self._updates, self._cancel = path, guard, tuple(updates), cancel
        self._own = read_lock(path)
        shipped = resources.default_lock()
        self.lock = self._own.over(read_lock(shipped) if shipped else Lock())

    def updating(self, *names: str) -> bool:
        """Whether ``lock_update=`` asks for any of these names anew."""
        return "all" in self._updates or any(name in self._updates for name in names)

    def check_updates(self, names: Iterable[str]) -> None:
        """Refuse a ``lock_update=`` that is none of these names of kernels and tools."""
        known = ("all", *names)
        for name in self._updates:
            if name not in known:
                hint = nearest(name, known)
                raise InputError(
                    f"lock_update={name}: found no kernel or tool of that name"
                    + (f", nearest match {hint!r}" if hint else ""),
                    fix=f"expected one of {', '.join(dict.fromkeys(known))}",
                )

    def keep_kernels(self, pins: Mapping[str, AnyPin]) -> None:
        """Pin these specs, in the file too unless they stand there."""
        new = {spec: pin for spec, pin in pins.items() if self._own.kernels.get(spec) != pin}
        for spec, pin in new.items():
            self.lock = self.lock.with_kernel(spec, pin)
        if new:
            self._save(lambda lock: Lock({**lock.kernels, **new}, lock.tools))

    def tool(self, name: str, apt: Apt) -> Pin:
        """The pin of a tool, resolved if it is not pinned. Raises HostError when it cannot be."""
        return self.keep_tool(name, resolve_tool(name, self.lock, apt, update=self.updating(name)))

    def keep_tool(self, name: str, pin: Pin) -> Pin:
        """Pin a tool, in the file too unless it stands there; gives ``pin``."""
        if self._own.tools.get(name) != pin:
            self.lock = self.lock.with_tool(name, pin)
            self._save(lambda lock: lock.with_tool(name, pin))
        return pin

    def _save(self, change: Callable[[Lock], Lock]) -> None:
        """Change the project's lock file; what another run pinned meanwhile stays."""
        with locked(self._guard, cancel=self._cancel):
            self._own = change(read_lock(self._path))
            write_lock(self._path, self._own)

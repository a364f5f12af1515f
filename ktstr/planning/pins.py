"""The pins of one session: ``ktstr.lock`` over the one that comes with ktstr, and what is pinned anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ktstr import resources
from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.host.apt import Apt
from ktstr.host.flock import locked
from ktstr.pins.lock import AnyPin, Lock, Pin, read_lock, write_lock
from ktstr.tasks.session import Session
from ktstr.tools.pinned import RECIPES, resolve_tool


class Pins:
    """What names mean. Whatever is resolved here is written to the project's lock file at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._own = read_lock(session.project.lock)
        shipped = resources.default_lock()
        self.lock = self._own.over(read_lock(shipped) if shipped else Lock())

    def updating(self, *names: str) -> bool:
        """Whether ``lock_update=`` asks for any of these names anew."""
        wanted = self._session.words_of("lock_update")
        return "all" in wanted or any(name in wanted for name in names)

    def check_updates(self, kernels: Iterable[str]) -> None:
        """Refuse a ``lock_update=`` that names none of these kernels and no tool."""
        known = ("all", *kernels, *RECIPES)
        for name in self._session.words_of("lock_update"):
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
        pin = resolve_tool(name, self.lock, apt, update=self.updating(name))
        if self._own.tools.get(name) != pin:
            self.lock = self.lock.with_tool(name, pin)
            self._save(lambda lock: lock.with_tool(name, pin))
        return pin

    def _save(self, change: Callable[[Lock], Lock]) -> None:
        """Change the project's lock file; what another run pinned meanwhile stays."""
        path = self._session.project.lock
        place = self._session.project.runs_root / ".locks" / f"{path.name}.lock"
        with locked(place, cancel=self._session.cancel):
            self._own = change(read_lock(path))
            write_lock(path, self._own)

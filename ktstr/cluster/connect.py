"""A cluster as an asker has it: its workers, the submissions that are on their way, and what has arrived."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ktstr.cancel import Cancel
from ktstr.cluster import plugin
from ktstr.cluster.artifacts import Token
from ktstr.cluster.dispatch import Dispatch
from ktstr.cluster.link import Link, Task
from ktstr.cluster.plugin import TOPIC
from ktstr.cluster.roster import Roster
from ktstr.cluster.supply import Lost
from ktstr.cluster.wire import Offered
from ktstr.errors import HostError, KtstrError

T = TypeVar("T")
TOLD_S = 5.0  # for telling workers what has arrived


class Connection:
    """Open until ``close``. Safe from any thread but Dask's own.

    ``say`` is told who is left out. ``in_full`` as of ``Roster``. Raises HostError when the scheduler cannot be
    reached, Cancelled once ``cancel`` is set.
    """

    def __init__(
        self,
        address: str,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        cancel: Cancel | None = None,
        *,
        in_full: bool = False,
    ) -> None:
        self._dispatches: dict[str, Dispatch] = {}
        self._arrived: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self.link = Link(address, environ, cancel or Cancel())
        self.roster = Roster(self.link, say, self._on_lost, in_full=in_full)
        self.roster.idle = self._tell_arrived
        try:
            self.link.subscribe(TOPIC, self._on_announcement)
            self.roster.open()
        except Exception as err:
            self.close()
            raise self.link.why(err) from err

    @property
    def address(self) -> str:
        return self.link.address

    def close(self) -> None:
        """Tell the workers what has arrived, and leave."""
        self.roster.close()
        try:
            self._tell_arrived()
        except KtstrError:  # interrupted: what they are not told expires
            pass
        finally:
            self.link.close()

    def _on_lost(self, address: str) -> None:
        """In Dask's own thread."""
        with self._lock:
            dispatches = tuple(self._dispatches.values())
        for dispatch in dispatches:
            dispatch.worker_lost(address)

    def _on_announcement(self, event: tuple[float, dict[str, Any]]) -> None:
        """In Dask's own thread. Those of other askers too."""
        words = event[1]
        with self._lock:
            dispatch = self._dispatches.get(str(words.get("ticket")))
        if dispatch is not None:
            dispatch.announced(str(words.get("what")), str(words.get("at")))

    def submit(self, dispatch: Dispatch, data: bytes, resources: Mapping[str, int]) -> Task:
        """Give a job to Dask. A worker that is lost from now on is told to ``dispatch``, or was lost to it already.
        Raises Lost."""
        with self._lock:
            self._dispatches[dispatch.ticket] = dispatch
        allowed = sorted(dispatch.allowed)
        for address in allowed:
            if not self.roster.is_there(address):
                dispatch.worker_lost(address)
        where = {"workers": allowed, "resources": dict(resources)}
        task = self.link.submit(plugin.run_job, data, f"ktstr_cell-{dispatch.ticket}", where)
        task.when_over(dispatch.changed.set)
        return task

    def forget(self, dispatch: Dispatch) -> None:
        """The submission is over."""
        with self._lock:
            self._dispatches.pop(dispatch.ticket, None)

    def arrived(self, address: str, kept: str) -> None:
        """What a worker keeps under this name has arrived; it is told soon."""
        with self._lock:
            self._arrived.setdefault(address, []).append(kept)

    def _tell_arrived(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, {}
        for address, names in arrived.items():
            if self.roster.is_there(address):  # what one is not told expires
                self.link.ask([address], TOLD_S, plugin.drop_finished, tuple(names))

    def call(self, address: str, kind: type[T], function: Callable[..., Any], *args: object) -> T:
        """Have a worker do something, and give its answer. Raises HostError with its words, Lost when it is gone,
        Cancelled."""
        name = self.roster.name_of(address)
        if not self.roster.is_there(address):
            raise Lost(f"worker {name} was lost", fix=self.link.fix)
        try:
            return self.link.call(address, kind, function, *args)
        except Lost:
            raise
        except HostError as err:
            raise HostError(f"worker {name}: {err.message}", fix=err.fix) from err


class WorkerLine:
    """Calls to one worker, for ``Supply``."""

    def __init__(self, connection: Connection, address: str) -> None:
        self._connection, self._address = connection, address
        self.name = f"worker {connection.roster.name_of(address)}"

    def offer(self, manifest: bytes, token: Token) -> Offered:
        """As ``Line``."""
        return self._connection.call(self._address, Offered, plugin.take_manifest, manifest, token)

    def send(self, manifest: str, digest: str, data: bytes) -> None:
        """As ``Line``."""
        self._connection.call(self._address, type(None), plugin.take_piece, manifest, digest, data)

    def finish(self, manifest: str) -> None:
        """As ``Line``."""
        self._connection.call(self._address, type(None), plugin.finish_entry, manifest)

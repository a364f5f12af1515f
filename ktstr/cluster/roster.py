"""The workers of a cluster as they come and go: each is asked what it is, and left out for what it lacks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from ktstr.cancel import Cancelled
from ktstr.cluster import plugin, wire
from ktstr.cluster.facts import SAME_KTSTR, Fault, Span, WorkerFacts, ktstr_version, unfit
from ktstr.cluster.link import Link, first_line, missing_module
from ktstr.cluster.survey import INSTALL
from ktstr.cluster.wire import Answer
from ktstr.cluster.workers import KnownWorker, names_of
from ktstr.errors import HostError

FACTS_S = 60.0  # for what a worker tells of itself: the probe guest may have to be compiled
AGAIN_S = 15.0  # after which one that did not answer is asked again
ANSWER = "answer"  # what such a fault is about


class Roster:
    """All workers that are there. Safe from any thread.

    ``say`` is told who is left out; ``on_lost``, in Dask's own thread, the address of each worker that is gone;
    ``idle`` is called now and then by the thread that looks at those who come. ``in_full``: what their caches hold is
    asked too.
    """

    def __init__(
        self, link: Link, say: Callable[[str], None], on_lost: Callable[[str], None], *, in_full: bool = False
    ) -> None:
        self._link, self._say, self._on_lost, self._in_full = link, say, on_lost, in_full
        self._workers: dict[str, KnownWorker] = {}
        self._gone: dict[str, str] = {}  # names, by address
        self._asked_at: dict[str, float] = {}
        self._changes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_looking, name="cluster", daemon=True)
        self.idle: Callable[[], None] = lambda: None

    def open(self) -> None:
        """From now on know who is there; the first look is over when this returns. Raises Cancelled."""
        self._link.subscribe("all", self._on_membership)
        self._link.set_up()
        self._look(self._link.names())
        self._thread.start()

    def close(self) -> None:
        """Nobody is looked at any more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def known(self) -> list[KnownWorker]:
        """All workers that are there now."""
        with self._lock:
            return list(self._workers.values())

    def fit(self) -> list[KnownWorker]:
        """Those that cells can be run on now."""
        return [worker for worker in self.known() if worker.is_fit]

    def is_there(self, address: str) -> bool:
        """Whether a worker is known, and not lost."""
        with self._lock:
            return address in self._workers

    def name_of(self, address: str) -> str:
        """What messages call a worker, one that is gone too."""
        with self._lock:
            known = self._workers.get(address)
            return self._gone.get(address, address) if known is None else known.name

    def look_again(self, address: str) -> None:
        """Ask a worker once more what it is, some time soon."""
        self._changes.put(address)

    def _look(self, addresses: Iterable[str]) -> None:
        asked = list(dict.fromkeys(addresses))
        if not asked:
            return
        began = time.time()
        with self._lock:
            for address in asked:
                self._gone.pop(address, None)  # one that is lost from now on is in it again
                self._asked_at[address] = time.monotonic()
        answers = self._link.ask(asked, FACTS_S, plugin.tell_facts, ktstr_version(), self._in_full)
        span, there = Span(began, time.time()), self._link.names()
        found = {address: _facts(answers[address]) for address in asked if address in there}
        for worker in self._kept(found, there, span):
            if worker.faults and not self._over.is_set():
                self._say(f"worker {worker.name} is left out: {worker.why_left_out}")

    def _kept(self, found: dict[str, WorkerFacts | Fault], there: dict[str, object], span: Span) -> list[KnownWorker]:
        """Those of them that are not lost meanwhile, known from now on."""
        with self._lock:
            hosts = {at: one.facts.host for at, one in self._workers.items() if one.facts is not None}
            hosts |= {at: one.host if isinstance(one, WorkerFacts) else at for at, one in found.items()}
            names = names_of(hosts, there)
            kept = [
                KnownWorker(at, names[at], one, unfit(one, span))
                if isinstance(one, WorkerFacts)
                else KnownWorker(at, names[at], None, (one,))
                for at, one in found.items()
                if at not in self._gone
            ]
            self._workers.update({worker.address: worker for worker in kept})
        return kept

    def _keep_looking(self) -> None:
        while not self._over.is_set():
            come = list(self._silent())
            with suppress(queue.Empty):
                come.append(self._changes.get(timeout=1.0))
                while True:
                    come.append(self._changes.get_nowait())
            try:
                self._look(come)
                self.idle()
            except Cancelled:
                return
            except Exception as err:  # of Dask's, as it loses the scheduler: whoever waits for a cell is told
                if not self._link.is_alive:
                    return
                self._say(f"cluster {self._link.address}: {first_line(err)}")

    def _silent(self) -> Iterable[str]:
        """Those that did not answer some time ago."""
        now = time.monotonic()
        for worker in self.known():
            silent = any(fault.about == ANSWER for fault in worker.faults)
            if silent and now - self._asked_at.get(worker.address, now) > AGAIN_S:
                yield worker.address

    def _on_membership(self, event: tuple[float, dict[str, Any]]) -> None:
        """In Dask's own thread."""
        action, address = event[1].get("action"), str(event[1].get("worker"))
        if action == "add-worker":
            self._changes.put(address)
        elif action == "remove-worker":
            with self._lock:
                known = self._workers.pop(address, None)
                self._gone[address] = address if known is None else known.name
            self._on_lost(address)


def _facts(answer: object) -> WorkerFacts | Fault:
    """What a worker is, or why nobody knows."""
    if not isinstance(answer, bytes):
        why = answer if isinstance(answer, BaseException) else OSError("it is gone")
        if (missing := missing_module(why)) is not None:
            return Fault("ktstr", f"has no {missing}", INSTALL)
        if "AttributeError" in first_line(why):  # it has not what it was to call
            return Fault("ktstr", f"has another ktstr: {first_line(why)}", SAME_KTSTR)
        return Fault(ANSWER, f"does not answer: {first_line(why)}", "look at its log, and start its dask worker anew")
    try:
        found = wire.decode(answer, Answer)
        if found.error is None:
            return wire.decode(found.value, WorkerFacts)
        return Fault(ANSWER, f"cannot say what it is: {found.error.message}", found.error.fix or SAME_KTSTR)
    except HostError as err:
        return Fault("ktstr", f"has another ktstr: {err.message}", SAME_KTSTR)

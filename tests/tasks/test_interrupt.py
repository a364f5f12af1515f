"""What takes SIGINT and SIGTERM does so wherever the main thread is."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# pthread_mutex_lock(3) returns to nobody who interrupts it: the main thread does not reach the interpreter again.
STUCK = """
import ctypes, os, threading
from ktstr.cancel import Cancel
from ktstr.tasks.interrupt import Interrupts

cancel = Cancel()
Interrupts(cancel)

def watch():
    while not cancel.wait(60):
        pass
    print(cancel.signal, flush=True)

threading.Thread(target=watch, daemon=True).start()
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
print("stuck", flush=True)
libc.pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_seen_while_the_main_thread_does_not_come_back(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"stuck\n"
            process.send_signal(number)
            assert process.stdout.readline() == b"%d\n" % number
        finally:
            process.kill()

"""Run a command that cannot outlive the process that started it.

A script of its own, started as ``python -I -S tether.py PARENT_PID FILE_LIMIT COMMAND...``: between
fork and exec of a threaded program nothing but system calls is safe, and util-linux' setpriv does
not notice a parent that died before it asked for the signal.

The kernel sends the signal when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG): the
starting thread has to wait for the command. What the command itself started gets no signal: the variable
``KTSTR_TETHER`` tells whose it is (``host.orphans``).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
EXIT_NOT_STARTED = 127
MARK = "KTSTR_TETHER"


def main(parent: int, file_limit: int, command: list[str]) -> int:
    """Tie this process to ``parent``, bound the files it writes (bytes), and become ``command``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        print(f"prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return EXIT_NOT_STARTED
    if os.getppid() != parent:
        return EXIT_NOT_STARTED  # it died before the signal was asked for
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
    try:
        environ[MARK] = mark(parent)
        os.execve(command[0], command, environ)
    except OSError as err:
        print(f"{command[0]}: {err.strerror}", file=sys.stderr)
        return EXIT_NOT_STARTED


def mark(owner: int) -> str:
    """Whose the calling process is: the owner's pid and when it started, in ticks since boot; this one's session; the
    pid namespace that these numbers count in. Raises OSError when the owner is gone."""
    with open(f"/proc/{owner}/stat", "rb") as file:  # noqa: PTH123 -- pathlib is slow to import
        began = file.read().rpartition(b")")[2].split()[19].decode()  # proc_pid_stat(5): field 22
    return f"{owner} {began} {os.getsid(0)} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))

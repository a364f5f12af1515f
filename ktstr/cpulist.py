"""CPU lists as the kernel writes them: ``0-3,5``."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_CPUS = 512  # of a guest
MAX_HOST_CPUS = 8192  # the most that Linux has on any machine (CONFIG_NR_CPUS, MAXSMP)
CPU_LIST_PATTERN = r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*"
_LIST = re.compile(CPU_LIST_PATTERN)
_CHARACTERS_EACH = 8  # more than a number, its dash and its comma take


def parse(text: str, limit: int = MAX_CPUS) -> tuple[int, ...]:
    """The CPUs of a list, ascending, without repeats; each is below ``limit``.

    Raises ValueError saying what was expected.
    """
    if len(text) > _CHARACTERS_EACH * limit or not _LIST.fullmatch(text):
        raise ValueError("a CPU list, such as 0-3,5")
    cpus: set[int] = set()
    for item in text.split(","):
        first, _, last = item.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise ValueError(f"a CPU list whose ranges go up, such as {high}-{low}")
        if high >= limit:
            raise ValueError(f"a CPU list of CPUs below {limit}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def render(cpus: Iterable[int]) -> str:
    """The shortest list of these CPUs; empty for none."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)

"""Ids of dispatch queues (enum scx_dsq_id_flags, include/linux/sched/ext.h), and what a failure dump calls them."""

from __future__ import annotations

from ktstr.record.dump import Owner

BUILTIN, LOCAL_ON, CPU_MASK = 1 << 63, 1 << 62, 0xFFFFFFFF
INVALID, GLOBAL, LOCAL, BYPASS = (BUILTIN | number for number in range(4))
_NAMES = {INVALID: "no DSQ", GLOBAL: "the global DSQ", BYPASS: "the bypass DSQ"}
# enum scx_ops_state, the same in every kernel that has sched_ext.
OWNERS: tuple[Owner, ...] = ("kernel", "in_transit", "bpf_scheduler", "in_transit")


def dsq_name(number: int, cpu: int | None) -> str:
    """A queue's name; ``cpu``: whose runqueue holds it, where it is a local one."""
    if not number & BUILTIN:
        return f"DSQ {number:#x}"
    if number & LOCAL_ON:
        return f"the local DSQ of CPU {number & CPU_MASK}"
    if number == LOCAL:
        return "a local DSQ" if cpu is None else f"the local DSQ of CPU {cpu}"
    return _NAMES.get(number, f"the built-in DSQ {number & ~BUILTIN:#x}")


def local_cpu(number: int, cpu: int | None) -> int | None:
    """The CPU whose local queue it is; None for a queue of another kind."""
    if number & BUILTIN and number & LOCAL_ON:
        return number & CPU_MASK
    return cpu if number == LOCAL else None


def in_no_dsq(owner: Owner | None) -> str:
    """Where a waiting task is that is in no queue of the kernel's."""
    if owner == "bpf_scheduler":
        return "no DSQ: the BPF scheduler has it, and did not dispatch it"
    return "no DSQ: on its way between the kernel and the BPF scheduler" if owner == "in_transit" else "no DSQ"

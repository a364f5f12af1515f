"""The registers of QEMU's vCPUs, out of what its monitor prints (target/i386/cpu-dump.c of QEMU 10.0)."""

from __future__ import annotations

import re

from ktstr.errors import HostError
from ktstr.vm.machine import Registers

COMMAND = "info registers -a"
_CPU = re.compile(r"^CPU#(\d{1,4})\r?$", re.MULTILINE)
_FIELD = re.compile(r"\b([A-Z][A-Z0-9]{1,3}) ?=([0-9a-f]{4,16})\b")
_BASE = re.compile(r"^([FG]S) =[0-9a-f]{4} ([0-9a-f]{8,16}) ", re.MULTILINE)
_HALTED = re.compile(r"\bHLT=([01])\b")
_GENERAL = ("AX", "BX", "CX", "DX", "SI", "DI", "SP", "BP")
# As it is called there, in 64-bit mode and in the others, and what we call it (as struct vmm_registers does).
_NAMES = {
    **{f"R{name}": f"r{name.lower()}" for name in (*_GENERAL, "IP")},
    **{f"E{name}": f"r{name.lower()}" for name in (*_GENERAL, "IP")},
    **{f"R{n}": f"r{n}" for n in range(8, 16)},
    "RFL": "rflags", "EFL": "rflags", "EFER": "efer", "CS": "cs", "SS": "ss",
    **{f"CR{n}": f"cr{n}" for n in (0, 2, 3, 4)},
}  # fmt: skip


def parse_registers(text: str, cpus: int) -> tuple[Registers, ...]:
    """Those of each vCPU in order. One in a mode of 32 bits or fewer has no ``r8`` to ``r15``.

    QEMU's own numbers have gaps where LLCs differ. Raises HostError unless there are ``cpus`` of them, each with its
    instruction pointer and page tables.
    """
    parts = _CPU.split(text)[1:]
    numbers, texts = [int(number) for number in parts[::2]], parts[1::2]
    registers = tuple(_of_one(part) for part in texts)
    if (
        len(numbers) != cpus
        or numbers != sorted(set(numbers))
        or not all({"rip", "cr3"} <= set(one) for one in registers)
    ):
        raise HostError(f"the emulator printed registers of {len(numbers)} vCPUs in a form unknown, expected {cpus}")
    return registers


def parse_awake(text: str, cpus: int) -> tuple[int, ...]:
    """The vCPUs that are not halted. Raises HostError unless there are ``cpus`` of them."""
    halted = _HALTED.findall(text)
    if len(halted) != cpus:
        raise HostError(f"the emulator told of {len(halted)} vCPUs whether they are halted, expected {cpus}")
    return tuple(cpu for cpu, flag in enumerate(halted) if flag == "0")


def _of_one(text: str) -> dict[str, int]:
    registers = {_NAMES[name]: int(value, 16) for name, value in _FIELD.findall(text) if name in _NAMES}
    return registers | {f"{name.lower()}_base": int(value, 16) for name, value in _BASE.findall(text)}

"""What the host changes in a guest that runs, verified by reading back: a BPF map's values, sched_ext's watchdog.

A write goes to the guest's physical memory, without its locks: fit for a number that programs read anew each time, as
a scheduler's globals are (``const volatile`` ones, in .rodata, the verifier has already made constants).
"""

from __future__ import annotations

from dataclasses import dataclass

from drgn import Object, TypeKind

from ktstr.errors import InputError
from ktstr.introspect.maps import MapFacts, find_map
from ktstr.introspect.program import PAGE, GuestProgram, reading
from ktstr.introspect.scx import scx_root

_MS_PER_S = 1000
_MAX_WATCHDOG_MS = 30_000  # SCX_WATCHDOG_MAX_TIMEOUT: 30 s


@dataclass(frozen=True)
class Written:
    """``observed`` is what was there right after ``expected`` was written, ``before`` what was before."""

    before: int
    expected: int
    observed: int

    @property
    def holds(self) -> bool:
        return self.observed == self.expected


class Refused(InputError):
    """What was to be written cannot be, or not so; nothing was. The text says why."""


def write_kernel(program: GuestProgram, address: int, data: bytes) -> bytes:
    """Write at a kernel address, and give what is there then. Raises Unreadable, before anything was written, when
    some of it is not mapped."""
    places, at = [], 0
    while at < len(data):
        count = min(len(data) - at, PAGE - (address + at) % PAGE)
        places.append((program.physical(address + at), data[at : at + count]))
        at += count
    with reading(f"{address:#x}"):
        for physical, part in places:
            program.memory.write(physical, part)
    return program.bytes_at(address, len(data))


def write_map(program: GuestProgram, name: str, offset: int, data: bytes, index: int = 0) -> bytes:
    """Write into an element of an ARRAY map (``name`` as ``find_map``), and give what is there then.

    Raises Refused for a map of another type, a frozen one, and beyond its value; Unreadable.
    """
    facts = _writable(program, name)
    if not (0 <= index < facts.max_entries and offset >= 0 and offset + len(data) <= facts.value_size):
        raise Refused(
            f"map {facts.name}: bytes {offset} to {offset + len(data)} of element {index}, expected within the "
            f"{facts.value_size} bytes of one of {facts.max_entries} elements"
        )
    step = -(-facts.value_size // 8) * 8
    base = facts.address + program.offset("struct bpf_array", "value")
    return write_kernel(program, base + index * step + offset, data)


def write_variable(program: GuestProgram, name: str, variable: str, value: int) -> Written:
    """Write a number into a scheduler's global: ``variable`` (``a.b`` within structures) of the map ``name``, such as
    .bss. Raises Refused as ``write_map``, and for what is no integer there or does not fit; Unreadable."""
    facts = _writable(program, name)
    held = _variable(program, facts, variable)
    size, signed = int(held.type_.size), _is_signed(held)
    try:
        data = value.to_bytes(size, "little", signed=signed)
    except OverflowError:
        raise Refused(f"{variable}: {value} does not fit in {size} bytes, {'' if signed else 'un'}signed") from None
    with reading(variable):
        before, address = int(held.value_()), int(held.address_)
    observed = write_kernel(program, address, data)
    return Written(before, value, int.from_bytes(observed, "little", signed=signed))


def _writable(program: GuestProgram, name: str) -> MapFacts:
    facts = find_map(program, name)
    if facts.type != "ARRAY":
        raise Refused(f"map {facts.name}: is of type {facts.type}, expected ARRAY")
    if facts.frozen:
        raise Refused(f"map {facts.name}: is frozen: the verifier has made constants of its values")
    return facts


def _variable(program: GuestProgram, facts: MapFacts, variable: str) -> Object:
    held = program.at("struct bpf_map", facts.address)
    with reading(f"map {facts.name}"):
        if not held.btf.value_():
            raise Refused(f"map {facts.name}: has no BTF, so it has no variable {variable}")
        of = program.program_types(held.btf).sized(int(held.btf_value_type_id))
        found = Object(program.prog, of, address=facts.address + program.offset("struct bpf_array", "value"))
        for part in variable.split("."):
            if found.type_.kind not in (TypeKind.STRUCT, TypeKind.UNION):
                raise Refused(f"map {facts.name}: {variable} is in no structure")
            names = [member.name for member in found.type_.members if member.name]
            if part not in names:
                raise Refused(f"map {facts.name}: has no {part}, expected one of {', '.join(names)[:200]}")
            found = _unqualified(found.member_(part))
        if found.type_.kind not in (TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM) or found.bit_field_size_:
            raise Refused(f"map {facts.name}: {variable} is a {found.type_.type_name()}, expected an integer")
        return found


def _unqualified(held: Object) -> Object:
    of = held.type_
    while of.kind is TypeKind.TYPEDEF:
        of = of.type
    if held.bit_field_size_:
        return held
    return Object(held.prog_, of, address=held.address_)


def _is_signed(held: Object) -> bool:
    of = held.type_.type if held.type_.kind is TypeKind.ENUM else held.type_
    return of.kind is TypeKind.INT and bool(of.is_signed)


def watchdog_timeout(program: GuestProgram, milliseconds: int, hz: int) -> Written:
    """Set the time after which sched_ext ends a scheduler that lets a task wait, in jiffies of 1/``hz`` s.

    Since Linux 7.1 it is the loaded scheduler's own, and has to be set again after a reload. Raises Refused when none
    is loaded or the time is no sane one; Unreadable.
    """
    if not 0 < milliseconds <= _MAX_WATCHDOG_MS:
        raise Refused(f"watchdog timeout: {milliseconds} ms, expected 1 to {_MAX_WATCHDOG_MS}")
    jiffies = -(-milliseconds * hz // _MS_PER_S)
    address = _watchdog(program)
    before = program.u64(address)
    observed = write_kernel(program, address, jiffies.to_bytes(8, "little"))
    return Written(before, jiffies, int.from_bytes(observed, "little"))


def _watchdog(program: GuestProgram) -> int:
    if program.member_exists("struct scx_sched", "watchdog_timeout"):
        root = scx_root(program)
        if root is None:
            raise Refused("watchdog timeout: no scheduler is loaded, and since Linux 7.1 it is the scheduler's own")
        return root + program.offset("struct scx_sched", "watchdog_timeout")
    if program.has("scx_watchdog_timeout"):
        return program.address("scx_watchdog_timeout")
    raise Refused("watchdog timeout: this kernel has none")

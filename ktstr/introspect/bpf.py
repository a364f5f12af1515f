"""BPF programs: what is loaded, what the verifier made of it, and how often and how long it ran.

kernel/bpf/syscall.c keeps every program in ``prog_idr``. Counts and times are only kept while kernel.bpf_stats_enabled
is on; a scheduler's callbacks are its programs of type STRUCT_OPS, so that these are its profile.
"""

from __future__ import annotations

from collections.abc import Sequence

from drgn import Object

from ktstr.introspect.program import GuestProgram, Unreadable, clean, reading
from ktstr.introspect.walk import idr
from ktstr.record.kernel import BpfProgram, BpfPrograms

MAX_PROGRAMS = 65536
MAX_FUNCTIONS = 256  # BPF_MAX_SUBPROGS of include/linux/bpf_verifier.h
MAX_USED_MAPS = 64  # MAX_USED_MAPS of include/linux/bpf_verifier.h
_TYPE_PREFIX = "BPF_PROG_TYPE_"
_TAG = 8  # BPF_TAG_SIZE
_MEMBER, _SYMBOL = 128, 256
_NAME = 16  # BPF_OBJ_NAME_LEN
_STATS = ("cnt", "nsecs", "misses")


def read_programs(program: GuestProgram) -> BpfPrograms:
    """Every BPF program, by id. Raises nothing."""
    found: list[BpfProgram] = []
    try:
        with reading("BPF programs"):
            offsets = program.per_cpu_offsets()
            for entry in idr(program, "prog_idr", MAX_PROGRAMS):
                with reading(f"program {entry.id}"):
                    found.append(_program(program, entry.id, entry.address, offsets))
    except Unreadable as err:
        return BpfPrograms(programs=tuple(found), error=str(err))
    return BpfPrograms(programs=tuple(found))


def _program(program: GuestProgram, number: int, address: int, cpu_offsets: Sequence[int]) -> BpfProgram:
    prog = program.at("struct bpf_prog", address).read_()
    aux = prog.aux
    stats = _stats(program, prog.stats.value_(), cpu_offsets)
    tag = prog.tag.to_bytes_()[:_TAG].hex()
    return BpfProgram(
        id=number,
        name=_name(program, aux, tag),
        type=enumerator(prog.type, _TYPE_PREFIX),
        tag=tag,
        verified_insns=int(aux.verified_insns),
        jited_len=_jited_len(program, prog),
        run_cnt=stats["cnt"],
        run_time_ns=stats["nsecs"],
        recursion_misses=stats["misses"],
        callback=_callback(program, prog),
        load_time_ns=int(aux.load_time),
        map_ids=_map_ids(program, aux),
    )


def _name(program: GuestProgram, aux: Object, tag: str) -> str:
    """The function's whole name, as the kernel calls its code; else the 15 characters of it that it keeps."""
    symbol = program.text_at(aux.ksym.name.address_, _SYMBOL)
    prefix = f"bpf_prog_{tag}_"
    return symbol.removeprefix(prefix) if symbol.startswith(prefix) else program.text_at(aux.name.address_, _NAME)


def _stats(program: GuestProgram, pointer: int, cpu_offsets: Sequence[int]) -> dict[str, int]:
    """The sum over CPUs of a per-CPU ``struct bpf_prog_stats``; u64_stats_t is one u64.

    ``cpu_offsets``: of all possible CPUs, as ``per_cpu_offsets`` has them.
    """
    offsets = {name: program.offset("struct bpf_prog_stats", name) for name in _STATS}
    size = program.size("struct bpf_prog_stats")
    sums = dict.fromkeys(_STATS, 0)
    for cpu_offset in cpu_offsets:
        raw = program.bytes_at(pointer + cpu_offset, size)
        for name, offset in offsets.items():
            sums[name] += int.from_bytes(raw[offset : offset + 8], "little")
    return sums


def _jited_len(program: GuestProgram, prog: Object) -> int:
    """Bytes of machine code, as bpf_prog_get_info_by_fd tells them: of a program with functions, those of them all."""
    count = int(prog.aux.func_cnt)
    if count > MAX_FUNCTIONS:
        raise Unreadable(f"it has {count} functions, expected at most {MAX_FUNCTIONS}")
    array, place = prog.aux.func.value_(), program.offset("struct bpf_prog", "jited_len")
    functions = [program.u64(array + 8 * index) for index in range(count)]
    sizes = [int.from_bytes(program.bytes_at(each + place, 4), "little") for each in functions]
    return sum(sizes) if sizes else int(prog.jited_len)


def _map_ids(program: GuestProgram, aux: Object) -> tuple[int, ...]:
    count = int(aux.used_map_cnt)
    if count > MAX_USED_MAPS:
        raise Unreadable(f"it uses {count} maps, expected at most {MAX_USED_MAPS}")
    array, place = aux.used_maps.value_(), program.offset("struct bpf_map", "id")
    maps = [program.u64(array + 8 * index) for index in range(count)]
    return tuple(int.from_bytes(program.bytes_at(each + place, 4), "little") for each in maps)


def _callback(program: GuestProgram, prog: Object) -> str | None:
    """Which member of ``sched_ext_ops`` (or of others of that kind) it is: check_struct_ops_btf_id notes its name."""
    name = prog.aux.attach_func_name.value_()
    if not name or enumerator(prog.type, _TYPE_PREFIX) != "STRUCT_OPS":
        return None
    return program.text_at(name, _MEMBER)


def enumerator(value: Object, prefix: str = "") -> str:
    """An enumerator's name without its prefix; its number where it has none."""
    return clean(value.format_(type_name=False).encode())[:256].removeprefix(prefix)

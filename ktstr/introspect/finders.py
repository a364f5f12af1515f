"""What drgn asks for types, objects and symbols, answered from BTF and kallsyms: no DWARF is needed.

A kernel's BTF has of its variables only those of ``.data..percpu``; what the others are is in ``GLOBALS``, and all
else that has a name is found in structures.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from drgn import (
    FindObjectFlags,
    Object,
    Program,
    Qualifiers,
    Symbol,
    SymbolBinding,
    SymbolKind,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeKindSet,
    TypeMember,
    TypeParameter,
    sizeof,
)

from ktstr.introspect.btf import BadBtf, Btf, Kind, Record
from ktstr.kernels.symbols import KERNEL_MAP, Symbols

_KINDS = {
    Kind.STRUCT: TypeKind.STRUCT, Kind.UNION: TypeKind.UNION, Kind.ENUM: TypeKind.ENUM, Kind.ENUM64: TypeKind.ENUM,
    Kind.TYPEDEF: TypeKind.TYPEDEF, Kind.INT: TypeKind.INT, Kind.FLOAT: TypeKind.FLOAT,
}  # fmt: skip
_QUALIFIERS = {
    Kind.VOLATILE: Qualifiers.VOLATILE, Kind.CONST: Qualifiers.CONST, Kind.RESTRICT: Qualifiers.RESTRICT,
}  # fmt: skip
_INTEGERS = {1: "char", 2: "short", 4: "int", 8: "long"}
_INT_SIGNED, _INT_BOOL = 1, 4  # BTF_INT_*, in bits 24 to 27 of what follows the record
_MAX_DEPTH = 64  # types inside each other without a structure between: a kernel has 7
_MAX_SIZE = 1 << 30  # bytes of one value
_FAR = 1 << 20  # bytes; a symbol that begins farther away does not name an address

# Declarations of kernel/sched/ext.c, kernel/bpf/syscall.c, kernel/bpf/btf.c, init/init_task.c, kernel/sched/core.c,
# kernel/printk/printk.c, arch/x86/kernel/head64.c and others.
GLOBALS = {
    "init_task": "struct task_struct",
    "init_pid_ns": "struct pid_namespace",
    "init_uts_ns": "struct uts_namespace",
    "init_mm": "struct mm_struct",
    "prog_idr": "struct idr",
    "map_idr": "struct idr",
    "link_idr": "struct idr",
    "btf_idr": "struct idr",
    "scx_root": "struct scx_sched *",
    "scx_enabled_seq": "atomic_long_t",
    "scx_enable_state_var": "atomic_t",
    "scx_watchdog_timeout": "unsigned long",
    "cgrp_dfl_root": "struct cgroup_root",
    "root_task_group": "struct task_group",
    "prb": "struct printk_ringbuffer *",
    "page_offset_base": "unsigned long",
    "vmemmap_base": "unsigned long",
    "vmalloc_base": "unsigned long",
    "phys_base": "unsigned long",
    "pgdir_shift": "unsigned int",
    "__per_cpu_offset": "unsigned long [8192]",
    "__cpu_online_mask": "struct cpumask",
    "__cpu_possible_mask": "struct cpumask",
    "__cpu_present_mask": "struct cpumask",
    "jiffies_64": "u64",
    "jiffies": "unsigned long",
    "nr_cpu_ids": "unsigned int",
    "nr_node_ids": "unsigned int",
    "sched_schedstats": "struct static_key_false",
    "bpf_stats_enabled_key": "struct static_key_false",
    "modules": "struct list_head",
    "mem_section": "struct mem_section **",
    "saved_command_line": "char *",
    "linux_banner": "char [256]",
    # sched_ext before Linux 6.16
    "scx_ops": "struct sched_ext_ops",
    "scx_ops_enable_state_var": "atomic_t",
    "scx_exit_info": "struct scx_exit_info *",
    "scx_exit_kind": "atomic_t",
    "dsq_hash": "struct rhashtable",
}


class BtfTypes:
    """drgn types of one BTF, each built when it is first asked for. Raises BadBtf where the BTF makes no sense."""

    def __init__(self, prog: Program, btf: Btf) -> None:
        self.btf = btf
        self._prog = prog
        self._types: dict[int, Type] = {0: prog.void_type()}
        self._making: set[int] = set()
        self._objects: dict[tuple[str, FindObjectFlags], Object | None] = {}

    def type(self, type_id: int) -> Type:
        """The drgn type of a type id."""
        found = self._types.get(type_id)
        if found is not None:
            return found
        if type_id in self._making or len(self._making) > _MAX_DEPTH:
            raise BadBtf(f"type {type_id} is made of itself, or of more than {_MAX_DEPTH} others inside each other")
        self._making.add(type_id)
        try:
            made = self._make(self.btf.record(type_id))
        except BadBtf:
            raise
        except (struct.error, OverflowError, ValueError, TypeError) as err:  # drgn's: a structure without a name ...
            raise BadBtf(f"type {type_id}: {err}") from None
        finally:
            self._making.discard(type_id)
        self._types[type_id] = made
        return made

    def _make(self, record: Record) -> Type:
        if record.kind in _QUALIFIERS:
            inner = self.type(record.size_or_type)
            return inner.qualified(inner.qualifiers | _QUALIFIERS[record.kind])
        return _MAKERS[record.kind](self, self._prog, record)

    def _int(self, prog: Program, record: Record) -> Type:
        (word,) = struct.unpack_from("<I", record.rows)
        if record.size_or_type not in (1, 2, 4, 8, 16):
            raise BadBtf(f"type {record.id} is an integer of {record.size_or_type} bytes")
        if word >> 24 & _INT_BOOL:
            return prog.bool_type(record.name, record.size_or_type)
        return prog.int_type(record.name, record.size_or_type, bool(word >> 24 & _INT_SIGNED))

    def _float(self, prog: Program, record: Record) -> Type:
        return prog.float_type(record.name, record.size_or_type)

    def _pointer(self, prog: Program, record: Record) -> Type:
        return prog.pointer_type(self.type(record.size_or_type))

    def _array(self, prog: Program, record: Record) -> Type:
        element, _index, count = struct.unpack_from("<III", record.rows)
        return prog.array_type(self.type(element), count)

    def _struct(self, prog: Program, record: Record) -> Type:
        """A flexible array has 0 elements: BTF cannot tell ``[0]`` from ``[]``."""
        members = []
        for name, type_id, place in struct.iter_unpack("<III", record.rows):
            bits, offset = (place >> 24, place & 0xFFFFFF) if record.flag else (0, place)
            members.append(TypeMember(self._later(type_id, bits), self.btf.string(name) if name else None, offset))
        make = prog.struct_type if record.kind is Kind.STRUCT else prog.union_type
        return make(record.name or None, record.size_or_type, members)

    def _section(self, prog: Program, record: Record) -> Type:
        """A program's .bss, .rodata or .data: the one value of its map."""
        members = []
        for type_id, offset, _size in struct.iter_unpack("<III", record.rows):
            variable = self.btf.record(type_id)
            members.append(TypeMember(self._later(type_id, 0), variable.name, 8 * offset))
        return prog.struct_type(record.name, record.size_or_type, members)

    def _enum(self, prog: Program, record: Record) -> Type:
        values = [TypeEnumerator(each.name, each.value) for each in self.btf.enumerators(record)]
        if record.size_or_type not in _INTEGERS:
            raise BadBtf(f"type {record.id} is an enum of {record.size_or_type} bytes")
        name = ("" if record.flag else "unsigned ") + _INTEGERS[record.size_or_type]
        compatible = prog.int_type(name, record.size_or_type, record.flag)
        return prog.enum_type(record.name or None, compatible, values)

    def _forward(self, prog: Program, record: Record) -> Type:
        return prog.union_type(record.name) if record.flag else prog.struct_type(record.name)

    def _typedef(self, prog: Program, record: Record) -> Type:
        return prog.typedef_type(record.name, self.type(record.size_or_type))

    def _alias(self, _prog: Program, record: Record) -> Type:
        return self.type(record.size_or_type)

    def _prototype(self, prog: Program, record: Record) -> Type:
        rows = list(struct.iter_unpack("<II", record.rows))
        variadic = bool(rows) and rows[-1] == (0, 0)
        parameters = [
            TypeParameter(self._later(type_id, 0), self.btf.string(name) if name else None)
            for name, type_id in rows[: len(rows) - variadic]
        ]
        return prog.function_type(self.type(record.size_or_type), parameters, variadic)

    def _later(self, type_id: int, bits: int) -> Callable[[], Object | Type]:
        if bits:
            return lambda: self._bit_field(type_id, bits)
        return lambda: self.type(type_id)

    def _bit_field(self, type_id: int, bits: int) -> Object:
        try:
            return Object(self._prog, self.type(type_id), bit_field_size=bits)
        except (ValueError, TypeError) as err:
            raise BadBtf(f"type {type_id}, a bit field of {bits} bits: {err}") from None

    def sized(self, type_id: int) -> Type:
        """As ``type``, for a value that is to be read. Raises BadBtf unless it has a size, and a sane one."""
        found = self.type(type_id)
        try:
            size = sizeof(found)
        except (TypeError, OverflowError):  # of a function or void; of arrays of arrays
            size = _MAX_SIZE + 1
        if size > _MAX_SIZE:
            raise BadBtf(f"type {type_id} is no value of up to {_MAX_SIZE} bytes")
        return found

    def find_type(self, _prog: Program, kinds: TypeKindSet, name: str, filename: str | None) -> Type | None:
        """A drgn type finder."""
        if filename:
            return None
        for type_id in self.btf.ids(name):
            kind = _KINDS.get(self.btf.record(type_id).kind)
            if kind is TypeKind.INT and self.type(type_id).kind in kinds:  # a bool is an integer in BTF
                return self.type(type_id)
            if kind is not None and kind in kinds:
                return self.type(type_id)
        return None

    def find_object(self, prog: Program, name: str, flags: FindObjectFlags, filename: str | None) -> Object | None:
        """A drgn object finder."""
        if filename:
            return None
        if (name, flags) not in self._objects:
            self._objects[name, flags] = self._find_object(prog, name, flags)
        return self._objects[name, flags]

    def _find_object(self, prog: Program, name: str, flags: FindObjectFlags) -> Object | None:
        for type_id in self.btf.ids(name):
            kind = self.btf.record(type_id).kind
            if (kind is Kind.VAR and flags & FindObjectFlags.VARIABLE) or (
                kind is Kind.FUNC and flags & FindObjectFlags.FUNCTION
            ):
                return _at_symbol(prog, name, self.type(type_id))
        if flags & FindObjectFlags.VARIABLE and name in GLOBALS:
            return _at_symbol(prog, name, prog.type(GLOBALS[name]))
        constant = self.btf.constant(name) if flags & FindObjectFlags.CONSTANT else None
        return None if constant is None else Object(prog, self.type(constant[0].id), constant[1])


_MAKERS: dict[Kind, Callable[[BtfTypes, Program, Record], Type]] = {
    Kind.INT: BtfTypes._int,
    Kind.FLOAT: BtfTypes._float,
    Kind.PTR: BtfTypes._pointer,
    Kind.ARRAY: BtfTypes._array,
    Kind.STRUCT: BtfTypes._struct,
    Kind.UNION: BtfTypes._struct,
    Kind.DATASEC: BtfTypes._section,
    Kind.ENUM: BtfTypes._enum,
    Kind.ENUM64: BtfTypes._enum,
    Kind.FWD: BtfTypes._forward,
    Kind.TYPEDEF: BtfTypes._typedef,
    Kind.TYPE_TAG: BtfTypes._alias,
    Kind.FUNC: BtfTypes._alias,
    Kind.VAR: BtfTypes._alias,
    Kind.DECL_TAG: BtfTypes._alias,
    Kind.FUNC_PROTO: BtfTypes._prototype,
}


def _at_symbol(prog: Program, name: str, of: Type) -> Object | None:
    try:
        return Object(prog, of, address=prog.symbol(name).address)
    except LookupError:
        return None


class SymbolFinder:
    """A drgn symbol finder over a kernel's symbols, moved by ``bias`` bytes."""

    def __init__(self, symbols: Symbols, bias: int) -> None:
        self.symbols, self.bias = symbols, bias

    def address(self, name: str) -> int | None:
        """Where ``name`` is in this guest; an offset into per-CPU memory is not moved."""
        linked = self.symbols.address(name)
        return None if linked is None else self._moved(linked)

    def _moved(self, linked: int) -> int:
        return linked + self.bias if linked >= KERNEL_MAP else linked

    def find(self, _prog: Program, name: str | None, address: int | None, _one: bool) -> Sequence[Symbol]:
        if name is not None:
            index = self.symbols.index(name)
        elif address is not None:
            index = self.symbols.index_at(address - self.bias)
            if index is not None and address - self.bias - self.symbols.addresses[index] > _FAR:
                index = None
        else:
            return [self._symbol(index) for index in range(len(self.symbols))]
        return [] if index is None else [self._symbol(index)]

    def _symbol(self, index: int) -> Symbol:
        kind = SymbolKind.FUNC if self.symbols.letter(index) in "tTwW" else SymbolKind.OBJECT
        binding = SymbolBinding.GLOBAL if self.symbols.letter(index).isupper() else SymbolBinding.LOCAL
        address = self._moved(self.symbols.addresses[index])
        return Symbol(self.symbols.name(index), address, self.symbols.size(index), binding, kind)

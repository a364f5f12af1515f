"""A drgn program over a guest's memory: its kernel, typed and named, read from outside.

Nothing is asked of the guest and nothing of it is changed (``write`` apart, which is asked for). Everything in its
memory is hostile: what makes no sense is an ``Unreadable``, and never a wait or a read without bound.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import drgn
from drgn import Object, Program, Type

from ktstr.errors import HostError, KtstrError
from ktstr.files import unreadable
from ktstr.host.cache import Cache
from ktstr.introspect.btf import BadBtf, Btf
from ktstr.introspect.finders import BtfTypes, SymbolFinder
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.symbols import KERNEL_MAP, Symbols, symbols_of
from ktstr.vm.guest_memory import BadAddress, GuestMemory
from ktstr.vm.machine import Registers

PAGE = 4096
_PHYSICAL_ALIGN = 2 << 20  # of KASLR, whatever CONFIG_PHYSICAL_ALIGN is (arch/x86/boot/compressed/kaslr.c)
_IMAGE_MAX = 1 << 30  # KERNEL_IMAGE_SIZE of arch/x86/include/asm/page_64_types.h with CONFIG_RANDOMIZE_BASE
_LA57 = 1 << 12  # of CR4
_BANNER = b"Linux version "
MAX_CPUS = 8192  # CONFIG_NR_CPUS of x86 with MAXSMP
_MAX_READ = 64 << 20  # bytes at once
_MAX_REASON = 400  # characters
_CANONICAL = 1 << 63  # of an address of the kernel's


class Unreadable(ValueError):
    """What was to be read is not there, or makes no sense: the guest's memory lies, or is being changed. The text
    says what was found."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """A block that reads guest memory: whatever that does to it is raised as Unreadable, ``what`` first. drgn has
    errors of its own for each kind of nonsense, which it does not all export. An error of ours stays what it is.
    """
    try:
        yield
    except KtstrError:
        raise
    except Exception as err:
        raise Unreadable(f"{what}: {reason(err)}"[:_MAX_REASON]) from None


def reason(err: BaseException) -> str:
    """One line of what went wrong."""
    return (" ".join(str(err).split()) or type(err).__name__)[:300]


@dataclass(frozen=True)
class Kernel:
    """What is known of a kernel without a guest: its release, types and symbols. Made once, used by every guest."""

    release: str
    btf: Btf
    symbols: Symbols


def read_kernel(entry: KernelEntry, cache: Cache | None = None) -> Kernel:
    """What is known of the kernel of a cache entry. ``cache``: None for a caller who holds the entry's lock.

    Raises HostError for a kernel without BTF or kallsyms, or whose files cannot be read.
    """
    if entry.btf is None:
        raise HostError(
            f"kernel {entry.version}: has no BTF, so its guests cannot be looked into",
            fix="a kernel with CONFIG_DEBUG_INFO_BTF=y",
        )
    try:
        return Kernel(entry.version, Btf(entry.btf.read_bytes()), symbols_of(entry, cache))
    except OSError as err:
        raise unreadable(err, entry.btf) from err
    except BadBtf as err:
        raise HostError(f"{entry.btf}: {err}", fix=f"doit kernel_clean, and {entry.key} is made again") from None


@dataclass(frozen=True)
class _Placement:
    """``bias``: from the address that the kernel was linked at to where it is; ``phys_base`` as the kernel has it:
    physical is virtual - KERNEL_MAP + phys_base."""

    bias: int
    phys_base: int


class GuestProgram:
    """One guest's kernel. ``prog`` is drgn's view of it: any of drgn's own helpers works on that.

    May be used by one thread at a time. What is cached is where things are (offsets, addresses of the kernel's own
    variables), never what they hold.
    """

    def __init__(self, memory: GuestMemory, kernel: Kernel, registers: Sequence[Registers] = ()) -> None:
        self.memory, self.kernel, self.registers = memory, kernel, tuple(registers)
        self.symbols: SymbolFinder
        self.prog = self._open()
        self.types: BtfTypes
        self._offsets: dict[tuple[str, str], int] = {}
        self._program_btf: dict[tuple[int, int], BtfTypes] = {}

    def _open(self) -> Program:
        placed = self._placement()
        self.symbols = SymbolFinder(self.kernel.symbols, placed.bias)
        self.phys_base = placed.phys_base
        prog = Program(drgn.Platform(drgn.Architecture.X86_64))
        for piece in self.memory.layout.pieces:
            self._map(prog, piece.address, piece.address, piece.size, physical=True)
        prog.set_linux_kernel_custom(self.vmcoreinfo, True)
        start, end = self.address("_text"), self.address("_end")
        if not 0 < end - start <= _IMAGE_MAX:
            raise Unreadable(f"the kernel's image is {end - start} bytes")
        self._map(prog, start, start - KERNEL_MAP + self.phys_base, end - start)
        self.types = BtfTypes(prog, self.kernel.btf)
        prog.register_type_finder("btf", self.types.find_type, enable_index=0)
        prog.register_object_finder("btf", self.types.find_object, enable_index=0)
        prog.register_symbol_finder("kallsyms", self.symbols.find, enable_index=0)
        # Without a module that covers an address, drgn asks no ORC table about it, and its stacks are silently wrong.
        prog.main_module("kernel", create=True).address_ranges = [(self.address("_stext"), end)]
        base = self.page_offset
        for piece in self.memory.layout.pieces:
            self._map(prog, base + piece.address, piece.address, piece.size)
        return prog

    def _map(self, prog: Program, address: int, physical_address: int, size: int, *, physical: bool = False) -> None:
        """Say where memory is. drgn need then not walk page tables for each field it reads."""
        read = self.memory.read

        def segment(_address: int, count: int, offset: int, _physical: bool) -> bytes:
            try:
                return read(physical_address + offset, count)
            except BadAddress as err:
                raise drgn.FaultError(str(err), _address) from None

        prog.add_memory_segment(address, size, segment, physical)

    def _placement(self) -> _Placement:
        """Where the kernel is, by its banner: KASLR moves it by multiples of 2 MiB. Its own ``phys_base`` then tells
        how far it moved in virtual memory."""
        symbols = self.kernel.symbols
        banner, base = symbols.address("linux_banner"), symbols.address("phys_base")
        if banner is None or base is None:
            raise Unreadable("the kernel has no symbols linux_banner and phys_base")
        wanted = f"Linux version {self.kernel.release} ".encode()
        for moved in self._moves(banner - KERNEL_MAP, wanted):
            (phys_base,) = struct.unpack("<Q", self.memory.read(base - KERNEL_MAP + moved, 8))
            bias = (moved - phys_base) & _MASK
            bias -= 1 << 64 if bias >> 63 else 0
            if abs(bias) <= _IMAGE_MAX and bias % PAGE == 0:
                return _Placement(bias, moved - bias)
        raise Unreadable(f"found no kernel {self.kernel.release} in the guest's memory: it is not up yet, or another")

    def _moves(self, banner: int, wanted: bytes) -> Iterator[int]:
        end = max(piece.end for piece in self.memory.layout.pieces)
        for moved in (0, *range(-banner // _PHYSICAL_ALIGN * _PHYSICAL_ALIGN, end, _PHYSICAL_ALIGN)):
            try:
                if banner + moved >= 0 and self.memory.read(banner + moved, len(wanted)) == wanted:
                    yield moved
            except BadAddress:
                continue

    @property
    def bias(self) -> int:
        """How far KASLR moved the kernel; 0 without."""
        return self.symbols.bias

    @property
    def five_levels(self) -> bool:
        """Whether page tables have 5 levels: by CR4 where registers are known, else by what the kernel noted."""
        if self.registers and "cr4" in self.registers[0]:
            return bool(self.registers[0]["cr4"] & _LA57)
        shift = self.image_bytes("pgdir_shift", 4)
        return shift is not None and int.from_bytes(shift, "little") == 48

    @property
    def vmcoreinfo(self) -> str:
        """The lines of it that drgn needs (Documentation/admin-guide/kdump/vmcoreinfo.rst)."""
        return (
            f"OSRELEASE={self.kernel.release}\nPAGESIZE={PAGE}\n"
            f"SYMBOL(swapper_pg_dir)={self.address('init_top_pgt'):x}\nSYMBOL(_stext)={self.address('_stext'):x}\n"
            f"KERNELOFFSET={self.bias & _MASK:x}\nNUMBER(phys_base)={self.phys_base}\n"
            f"NUMBER(pgtable_l5_enabled)={int(self.five_levels)}\n"
        )

    def image_bytes(self, name: str, size: int) -> bytes | None:
        """What a variable of the kernel's image holds, without drgn; None when there is no such symbol."""
        address = self.symbols.address(name)
        if address is None or address < KERNEL_MAP:
            return None
        return self.memory.read(address - KERNEL_MAP + self.phys_base, size)

    @cached_property
    def page_offset(self) -> int:
        """Where all physical memory is mapped. Raises Unreadable."""
        held = self.image_bytes("page_offset_base", 8)
        base = int.from_bytes(held, "little") if held else 0xFFFF888000000000  # without CONFIG_RANDOMIZE_MEMORY
        if not base & _CANONICAL or base % PAGE or base + (1 << 46) > KERNEL_MAP:
            raise Unreadable(f"page_offset_base is {base:#x}, expected an address of the kernel's")
        return base

    def address(self, name: str) -> int:
        """Where a symbol is. Raises Unreadable for one that the kernel does not have."""
        found = self.symbols.address(name)
        if found is None:
            raise Unreadable(f"the kernel has no symbol {name}")
        return found

    def has(self, name: str) -> bool:
        """Whether the kernel has a symbol."""
        return self.symbols.address(name) is not None

    def variable(self, name: str) -> Object:
        """A global variable. Raises Unreadable for one that the kernel does not have."""
        with reading(name):
            return self.prog.variable(name)

    def at(self, type_name: str, address: int) -> Object:
        """What is of this type at an address. Raises Unreadable when the kernel has no such type."""
        with reading(type_name):
            return Object(self.prog, self.type(type_name), address=address & _MASK)

    def type(self, name: str) -> Type:
        """A type of the kernel's by its name. Raises Unreadable."""
        with reading(name):
            return self.prog.type(name)

    def offset(self, type_name: str, member: str) -> int:
        """Bytes from the begin of a type to a member, which may be ``a.b``. Raises Unreadable."""
        if (type_name, member) not in self._offsets:
            with reading(f"{type_name}.{member}"):
                self._offsets[type_name, member] = drgn.offsetof(self.prog.type(type_name), member)
        return self._offsets[type_name, member]

    def member_exists(self, type_name: str, member: str) -> bool:
        """Whether this kernel's type has a member."""
        try:
            self.offset(type_name, member)
        except Unreadable:
            return False
        return True

    def size(self, type_name: str) -> int:
        """Bytes of a type. Raises Unreadable."""
        with reading(type_name):
            return int(drgn.sizeof(self.prog.type(type_name)))

    def bytes_at(self, address: int, size: int) -> bytes:
        """Kernel memory. Raises Unreadable."""
        if not 0 <= size <= _MAX_READ:
            raise Unreadable(f"{size} bytes at {address:#x}, expected at most {_MAX_READ}")
        with reading(f"{address & _MASK:#x}"):
            return bytes(self.prog.read(address & _MASK, size))

    def u64(self, address: int) -> int:
        """Raises Unreadable."""
        with reading(f"{address & _MASK:#x}"):
            return int(self.prog.read_u64(address & _MASK))

    def text_at(self, address: int, size: int) -> str:
        """A string in at most ``size`` bytes; what is no UTF-8 is replaced, control characters too but for newlines
        and tabs. Raises Unreadable."""
        with reading(f"{address & _MASK:#x}"):
            return clean(self.prog.read_c_string(address & _MASK, max_size=size))

    @cached_property
    def _per_cpu(self) -> int:
        return self.address("__per_cpu_offset")

    def per_cpu(self, address: int, cpu: int) -> int:
        """Where a per-CPU variable or pointer is for a CPU. Raises Unreadable."""
        if not 0 <= cpu < MAX_CPUS:
            raise Unreadable(f"CPU {cpu}, expected at most {MAX_CPUS}")
        return (address + self.u64(self._per_cpu + 8 * cpu)) & _MASK

    def per_cpu_offsets(self) -> tuple[int, ...]:
        """What ``per_cpu`` adds for each possible CPU, in order, by one read for all. Raises Unreadable."""
        cpus = self.cpus
        raw = self.bytes_at(self._per_cpu, 8 * (cpus[-1] + 1))
        return tuple(int.from_bytes(raw[8 * cpu : 8 * cpu + 8], "little") for cpu in cpus)

    @cached_property
    def nr_cpu_ids(self) -> int:
        """One more than the highest possible CPU. Raises Unreadable."""
        count = int(self.variable("nr_cpu_ids").value_()) if self.has("nr_cpu_ids") else MAX_CPUS
        if not 1 <= count <= MAX_CPUS:
            raise Unreadable(f"nr_cpu_ids is {count}, expected 1 to {MAX_CPUS}")
        return count

    def cpumask(self, address: int) -> tuple[int, ...]:
        """The CPUs of the ``struct cpumask`` at an address. Raises Unreadable."""
        count = self.nr_cpu_ids
        mask = int.from_bytes(self.bytes_at(address, -(-count // 64) * 8), "little")
        return tuple(cpu for cpu in range(count) if mask >> cpu & 1)

    @property
    def cpus(self) -> tuple[int, ...]:
        """The possible CPUs. Raises Unreadable."""
        found = self.cpumask(self.address("__cpu_possible_mask"))
        if not found:
            raise Unreadable("no CPU is possible: the kernel is not up yet")
        return found

    def program_types(self, btf: Object) -> BtfTypes:
        """Those of a ``struct btf *`` in guest memory, read once for each place and size. Raises Unreadable."""
        with reading("BTF of a BPF program"):
            address, size = btf.data.value_(), btf.data_size.value_()
            if (address, size) not in self._program_btf:
                if size > _MAX_READ:
                    raise Unreadable(f"{size} bytes, expected at most {_MAX_READ}")
                self._program_btf[address, size] = BtfTypes(self.prog, Btf(self.prog.read(address, size)))
            return self._program_btf[address, size]

    def physical(self, address: int) -> int:
        """Where in guest physical memory a kernel address is. Raises Unreadable."""
        from drgn.helpers.linux.mm import follow_phys

        address &= _MASK
        if self.page_offset <= address < self.page_offset + (1 << 46):
            return address - self.page_offset
        if self.address("_text") <= address < self.address("_end"):
            return address - KERNEL_MAP + self.phys_base
        with reading(f"{address:#x}"):
            return int(follow_phys(self.prog["init_mm"].address_of_(), address).value_())


_MASK = (1 << 64) - 1


def clean(raw: bytes) -> str:
    """What a guest says, as it may be shown: UTF-8 or replaced, no control characters but newlines and tabs."""
    text = raw.decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def open_program(memory: GuestMemory, kernel: Kernel, registers: Sequence[Registers] = ()) -> GuestProgram:
    """Look into a guest. ``registers``: of each vCPU, where they are known; they say how deep page tables are, and
    what runs on each CPU. Raises Unreadable while its kernel is not up."""
    with reading("guest memory"):
        return GuestProgram(memory, kernel, registers)

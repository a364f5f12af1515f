"""A guest kernel's memory by the kernel's own addresses, for a kernel that KASLR did not move.

The kernel's image and all of RAM are mapped in one piece each; what is elsewhere (vmalloc: per-CPU memory that was
allocated later) is found through its page tables. Every address comes from the guest: a wild one is an error.
"""

from __future__ import annotations

from ktstr.kernels.symbols import KERNEL_MAP, Symbols
from ktstr.vm.guest_memory import BadAddress, GuestMemory

PAGE = 4096
_IMAGE = 1 << 30  # bytes that may be mapped from KERNEL_MAP on
_PAGE_OFFSET = 0xFFFF888000000000  # __PAGE_OFFSET_BASE_L4 of arch/x86/include/asm/page_64_types.h
_FRAME = 0x000FFFFFFFFFF000  # the address in a page table's entry
_PRESENT, _HUGE = 1, 1 << 7
_TOP = 1 << 63


class NotUp(ValueError):
    """The kernel has not come far enough to be read; the text says what is missing."""


class Addresses:
    """Reads of one guest. Raises BadAddress for what is mapped nowhere."""

    def __init__(self, memory: GuestMemory, symbols: Symbols) -> None:
        self._memory, self._symbols = memory, symbols
        self._page_offset: int | None = None
        self._tables: int | None = None
        self._pages: dict[int, int] = {}

    def symbol(self, name: str) -> int | None:
        return self._symbols.address(name)

    def settle(self) -> None:
        """Learn where RAM is mapped. Raises NotUp before the kernel has laid that out, and where it is elsewhere than
        it was linked."""
        banner = self.symbol("linux_banner")
        if banner is None or not self.read(banner, 14) == b"Linux version ":
            raise NotUp("the kernel is not in memory where it was linked")
        base = self.symbol("page_offset_base")
        found = self.u64(base) if base is not None else _PAGE_OFFSET
        if not found & _TOP:
            raise NotUp("the kernel has not mapped its memory yet")
        self._page_offset = found
        top = self.symbol("init_top_pgt")
        self._tables = None if top is None else top - KERNEL_MAP
        self._pages.clear()

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes; beyond RAM's two maps at most up to the end of each page at once."""
        physical = self._linear(address)
        if physical is not None:
            return self._memory.read(physical, size)
        parts = []
        while size > 0:
            count = min(size, PAGE - address % PAGE)
            parts.append(self._memory.read(self._walked(address), count))
            address, size = address + count, size - count
        return b"".join(parts)

    def u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def _linear(self, address: int) -> int | None:
        if KERNEL_MAP <= address < KERNEL_MAP + _IMAGE:
            return address - KERNEL_MAP
        if self._page_offset is None or address < self._page_offset:
            return None
        physical = address - self._page_offset
        pieces = self._memory.layout.pieces
        return physical if physical < pieces[-1].end else None

    def _walked(self, address: int) -> int:
        """Where a page table has it; what was found of a page is remembered."""
        page = address & ~(PAGE - 1)
        if page not in self._pages:
            self._pages[page] = self._walk(page)
        return self._pages[page] + address % PAGE

    def _walk(self, page: int) -> int:
        if self._tables is None or not page & _TOP:
            raise BadAddress(f"kernel address {page:#x}: nothing is mapped there")
        table = self._tables
        for shift in (39, 30, 21, 12):
            entry = int.from_bytes(self._memory.read(table + (page >> shift & 511) * 8, 8), "little")
            if not entry & _PRESENT:
                raise BadAddress(f"kernel address {page:#x}: nothing is mapped there")
            if shift == 12 or (shift < 39 and entry & _HUGE):
                size = 1 << shift
                return (entry & _FRAME & ~(size - 1)) + (page & (size - 1))
            table = entry & _FRAME
        raise AssertionError("a page table has an end")

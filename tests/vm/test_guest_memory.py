from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.topology import Node, Topology, of_nodes
from ktstr.resources import c_dir
from ktstr.vm.guest_memory import VMM_LOW_END, BadAddress, Extent, Layout, MemfdMemory, Piece, q35_layout, vmm_layout
from ktstr.vm.snapshot import seal

ROOT = Path(__file__).parent.parent.parent
MIB, GIB = 1 << 20, 1 << 30
ONE = Topology(1, 1, 1, 1)


def nodes(count: int) -> Topology:
    return Topology(count, count, 1, 1)


class TestLayout:
    """The expected addresses of q35 are what ``info mtree -f`` of QEMU 10.0.2 prints."""

    @pytest.mark.parametrize(
        ("memory_mib", "expected"),
        [
            (512, [(0, 512 * MIB, 0, 0)]),
            (2815, [(0, 2815 * MIB, 0, 0)]),
            (2816, [(0, 2 * GIB, 0, 0), (4 * GIB, 768 * MIB, 0, 2 * GIB)]),
            (4096, [(0, 2 * GIB, 0, 0), (4 * GIB, 2 * GIB, 0, 2 * GIB)]),
        ],
    )
    def test_q35_leaves_the_hole_below_4_gib(self, memory_mib: int, expected: list[tuple[int, ...]]) -> None:
        assert q35_layout(ONE, memory_mib).pieces == tuple(Piece(*piece) for piece in expected)

    def test_the_node_that_reaches_the_hole_goes_on_behind_it(self) -> None:
        assert q35_layout(nodes(2), 6144).pieces == (
            Piece(0, 2 * GIB, 0, 0),
            Piece(4 * GIB, 1 * GIB, 0, 2 * GIB),
            Piece(5 * GIB, 3 * GIB, 1, 0),
        )
        assert vmm_layout(nodes(2), 6144).pieces == (Piece(0, 3 * GIB, 0, 0), Piece(4 * GIB, 3 * GIB, 1, 0))
        assert vmm_layout(nodes(2), 4096).pieces == (
            Piece(0, 2 * GIB, 0, 0),
            Piece(2 * GIB, 1 * GIB, 1, 0),
            Piece(4 * GIB, 1 * GIB, 1, 1 * GIB),
        )

    def test_a_node_without_memory_has_no_piece_and_no_file(self) -> None:
        topology = of_nodes([Node((1,)), Node((1,), 0), Node((), 64)])
        layout = q35_layout(topology, 576)
        assert layout.pieces == (Piece(0, 512 * MIB, 0, 0), Piece(512 * MIB, 64 * MIB, 2, 0))
        memory = MemfdMemory(layout)
        try:
            assert [os.fstat(fd).st_size for fd in memory.descriptors] == [512 * MIB, 64 * MIB]
            memory.write(512 * MIB - 1, b"ab")
            assert memory.read(512 * MIB - 1, 2) == b"ab"
            assert os.pread(memory.descriptors[1], 1, 0) == b"b"
        finally:
            memory.close()

    def test_the_vmms_hole_is_where_its_header_says(self) -> None:
        header = (c_dir() / "core" / "memory.h").read_text()
        begin, end = (re.search(rf"#define MEMORY_HOLE_{name} (0x[0-9a-f]+)ULL", header) for name in ("BEGIN", "END"))
        assert begin and end
        assert (int(begin[1], 16), int(end[1], 16)) == (VMM_LOW_END, 4 * GIB)

    @given(st.integers(1, 9), st.integers(1, 4000), st.sampled_from([q35_layout, vmm_layout]))
    def test_every_byte_of_every_node_is_somewhere_once(self, count: int, each_mib: int, layout: object) -> None:
        assert callable(layout)
        pieces = layout(nodes(count), count * each_mib).pieces
        for before, after in pairwise(pieces):
            assert before.end <= after.address
        for node in range(count):
            parts = sorted((p.offset, p.size) for p in pieces if p.node == node)
            assert parts[0][0] == 0
            assert sum(size for _, size in parts) == each_mib * MIB
            assert all(a[0] + a[1] == b[0] for a, b in pairwise(parts))

    def test_memory_that_the_nodes_cannot_share_is_refused(self) -> None:
        with pytest.raises(ValueError, match="cannot be dealt evenly"):
            q35_layout(nodes(2), 513)

    def test_what_spans_pieces_is_cut_at_their_ends(self) -> None:
        layout = Layout((Piece(0, 100, 0, 0), Piece(100, 50, 1, 0), Piece(1000, 10, 1, 50)))
        assert layout.extents(90, 30) == [Extent(0, 90, 10), Extent(1, 0, 20)]
        assert layout.extents(1005, 5) == [Extent(1, 55, 5)]
        assert layout.extents(5000, 0) == []

    @pytest.mark.parametrize(("address", "size"), [(-1, 1), (140, 20), (150, 1), (999, 1), (1010, 1), (0, 1 << 62)])
    def test_what_is_not_all_ram_is_refused(self, address: int, size: int) -> None:
        layout = Layout((Piece(0, 100, 0, 0), Piece(100, 50, 1, 0), Piece(1000, 10, 1, 50)))
        with pytest.raises(BadAddress, match="no RAM is there"):
            layout.extents(address, size)


class TestMemfds:
    def test_each_node_has_a_file_of_its_size(self) -> None:
        memory = MemfdMemory(q35_layout(nodes(3), 6144))
        assert [os.fstat(fd).st_size for fd in memory.descriptors] == [2 * GIB] * 3
        assert not any(os.get_inheritable(fd) for fd in memory.descriptors)
        memory.close()
        memory.close()

    def test_bytes_are_read_where_the_guest_has_them(self) -> None:
        memory = MemfdMemory(q35_layout(nodes(2), 4096))
        first, second = memory.descriptors
        os.pwrite(first, b"end of one", 2 * GIB - 10)
        os.pwrite(second, b"start of two", 0)
        assert memory.read(2 * GIB - 10, 10) == b"end of one"
        assert memory.read(4 * GIB, 12) == b"start of two"
        with pytest.raises(BadAddress):
            memory.read(2 * GIB - 10, 11)
        memory.close()

    def test_reading_what_was_never_written_takes_no_memory(self) -> None:
        memory = MemfdMemory(q35_layout(ONE, 256))
        (fd,) = memory.descriptors
        os.pwrite(fd, b"x", 5000)
        before = os.fstat(fd).st_blocks
        assert before > 0
        assert memory.read(0, 256 * MIB).count(b"\0") == 256 * MIB - 1
        assert os.fstat(fd).st_blocks == before
        memory.close()

    @pytest.mark.slow  # it takes 4 GiB
    def test_more_than_one_read_gives_is_read_whole(self) -> None:
        memory = MemfdMemory(q35_layout(ONE, 2200))
        (fd,) = memory.descriptors
        os.pwrite(fd, b"last", 2200 * MIB - 4)
        data = memory.read(0, 2200 * MIB)
        assert (len(data), data[-4:]) == (2200 * MIB, b"last")
        memory.close()

    def test_filled_it_holds_what_was_sealed_and_holes_stay_holes(self) -> None:
        """Two nodes on both sides of the PCI hole: a file for each node, however many pieces it has."""
        layout = q35_layout(nodes(2), 6144)
        assert len(layout.pieces) == 3
        original, clone = MemfdMemory(layout), MemfdMemory(layout)
        first, second = original.descriptors
        os.pwrite(first, b"a" * 4096, 2 * GIB - 4096)
        os.pwrite(first, b"b" * 8192, 2 * GIB + 4096)
        os.pwrite(second, b"c", 3 * GIB - 1)
        sources = original.release()
        for fd in sources:
            seal(fd)
        clone.fill(sources)
        assert clone.read(2 * GIB - 4096, 4096) == b"a" * 4096
        assert clone.read(4 * GIB, 12288) == bytes(4096) + b"b" * 8192
        assert clone.read(8 * GIB - 1, 1) == b"c"
        for ours, theirs in zip(clone.descriptors, sources, strict=True):
            assert os.fstat(ours).st_blocks == os.fstat(theirs).st_blocks <= 4 * 8
        os.pwrite(clone.descriptors[1], b"d", 0)  # a clone's is its own
        assert os.pread(sources[1], 1, 0) == b"\0"
        clone.close()
        for fd in sources:
            os.close(fd)

    def test_filled_with_more_than_one_copy_gives_it_is_whole(self) -> None:
        original, clone = (MemfdMemory(q35_layout(ONE, 64)) for _ in range(2))
        data = random.Random(1).randbytes(48 * MIB)
        os.pwrite(original.descriptors[0], data, 4096)
        clone.fill(original.descriptors)
        assert clone.read(4096, 48 * MIB) == data
        assert not any(clone.read(4096 + 48 * MIB, 16 * MIB - 4096))
        original.close()
        clone.close()

    @pytest.mark.parametrize(("count", "mib"), [(1, 64), (1, 32), (2, 64), (2, 256)])
    def test_what_is_of_other_sizes_is_refused_before_a_byte_is_copied(self, count: int, mib: int) -> None:
        original, clone = MemfdMemory(q35_layout(nodes(count), mib)), MemfdMemory(q35_layout(nodes(2), 128))
        for fd in original.descriptors:
            os.pwrite(fd, b"x", 0)
        with pytest.raises(ValueError, match=r"bytes of RAM, expected \[67108864, 67108864\]"):
            clone.fill(original.descriptors)
        assert [os.fstat(fd).st_blocks for fd in clone.descriptors] == [0, 0]
        assert [os.fstat(fd).st_size for fd in clone.descriptors] == [64 * MIB] * 2
        original.close()
        clone.close()

    def test_released_its_files_are_the_takers(self) -> None:
        memory = MemfdMemory(q35_layout(nodes(2), 128))
        files = memory.release()
        assert memory.descriptors == memory.release() == ()
        with pytest.raises(ValueError, match="closed"):
            memory.read(0, 1)
        memory.close()
        for fd in files:
            assert os.fstat(fd).st_size == 64 * MIB
            os.close(fd)

    def test_closed_it_reads_nothing(self) -> None:
        memory = MemfdMemory(q35_layout(ONE, 64))
        memory.close()
        with pytest.raises(ValueError, match="closed"):
            memory.read(0, 1)

    def test_a_file_that_cannot_be_made_leaves_no_other(self) -> None:
        script = """if True:
            import os, resource
            from ktstr.config.topology import Topology
            from ktstr.vm.guest_memory import MemfdMemory, q35_layout
            resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
            before = os.listdir("/proc/self/fd")
            try:
                MemfdMemory(q35_layout(Topology(64, 64, 1, 1), 6400))
            except OSError as err:
                print(err.strerror, os.listdir("/proc/self/fd") == before)
        """
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "Too many open files True\n"


def test_planning_needs_no_machine_that_runs() -> None:
    """What a backend needs to be described is imported by planning: no cffi, and nothing that parses the C header."""
    heavy = ("cffi", "ktstr.vm.protocol", "ktstr.vm.ending", "ktstr.vm.vmm", "ktstr.vm.watch", "ktstr.vm.qmp")
    script = f"import sys; import ktstr.vm.qemu; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

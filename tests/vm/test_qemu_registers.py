from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import HostError
from ktstr.vm.qemu_registers import parse_awake, parse_registers

# As QEMU 10.0.2 prints: a vCPU as it is after a reset, and one in 64-bit mode.
REAL_MODE = """
CPU#0
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1
ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0000 00000000 0000ffff 00009300
CS =f000 ffff0000 0000ffff 00009b00
SS =0000 00000000 0000ffff 00009300
DS =0000 00000000 0000ffff 00009300
FS =0000 00000000 0000ffff 00009300
GS =0000 00001000 0000ffff 00009300
LDT=0000 00000000 0000ffff 00008200
TR =0000 00000000 0000ffff 00008b00
GDT=     00000000 0000ffff
IDT=     00000000 0000ffff
CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000
DR6=00000000ffff0ff0 DR7=0000000000000400
EFER=0000000000000000
FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80
FPR0=0000000000000000 0000 FPR1=0000000000000000 0000
XMM00=0000000000000000 0000000000000000 XMM01=0000000000000000 0000000000000000
"""
LONG_MODE = """
CPU#1
RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004
RSI=0000000000000005 RDI=0000000000000006 RBP=0000000000000007 RSP=ffffc90000093ed8
R8 =0000000000000008 R9 =0000000000000009 R10=000000000000000a R11=000000000000000b
R12=000000000000000c R13=000000000000000d R14=000000000000000e R15=000000000000000f
RIP=ffffffff81e5a5eb RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
ES =0000 0000000000000000 ffffffff 00c00000
CS =0010 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]
SS =0018 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]
DS =0000 0000000000000000 ffffffff 00c00000
FS =0000 0000000000000000 ffffffff 00c00000
GS =0000 ffff88807dc80000 ffffffff 00c00000
LDT=0000 0000000000000000 ffffffff 00c00000
TR =0040 fffffe0000048000 00004087 00008900 DPL=0 TSS64-avl
GDT=     fffffe0000046000 0000007f
IDT=     fffffe0000000000 00000fff
CR0=80050033 CR2=00007f0000000000 CR3=0000000002a10000 CR4=00350ef0
DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000
DR6=00000000ffff0ff0 DR7=0000000000000400
CCS=0000000000000000 CCD=0000000000000000 CCO=EFLAGS
EFER=0000000000000d01
FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80
"""


def test_each_register_has_its_name_whatever_the_mode() -> None:
    first, second = parse_registers((REAL_MODE + LONG_MODE).replace("\n", "\r\n"), 2)
    assert first == {
        "rax": 0, "rbx": 0, "rcx": 0, "rdx": 0x60FB1, "rsi": 0, "rdi": 0, "rbp": 0, "rsp": 0, "rip": 0xFFF0,
        "rflags": 2, "cs": 0xF000, "ss": 0, "cr0": 0x60000010, "cr2": 0, "cr3": 0, "cr4": 0, "efer": 0,
        "fs_base": 0, "gs_base": 0x1000,
    }  # fmt: skip
    assert second == {
        "rax": 1, "rbx": 2, "rcx": 3, "rdx": 4, "rsi": 5, "rdi": 6, "rbp": 7, "rsp": 0xFFFFC90000093ED8,
        **{f"r{n}": n for n in range(8, 16)}, "rip": 0xFFFFFFFF81E5A5EB, "rflags": 0x246, "cs": 0x10, "ss": 0x18,
        "cr0": 0x80050033, "cr2": 0x7F0000000000, "cr3": 0x2A10000, "cr4": 0x350EF0, "efer": 0xD01,
        "fs_base": 0, "gs_base": 0xFFFF88807DC80000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", 1),
        (REAL_MODE, 2),
        (REAL_MODE + LONG_MODE, 1),
        (LONG_MODE + REAL_MODE, 2),
        (REAL_MODE.replace("EIP", "XIP"), 1),
    ],
)
def test_another_form_is_refused(text: str, cpus: int) -> None:
    with pytest.raises(HostError, match=f"expected {cpus}"):
        parse_registers(text, cpus)


def test_vcpus_are_counted_by_order_as_the_emulators_numbers_have_gaps() -> None:
    first, second = parse_registers((REAL_MODE + LONG_MODE.replace("CPU#1", "CPU#5")).replace("\n", "\r\n"), 2)
    assert (first["rip"], second["rip"]) == (0xFFF0, 0xFFFFFFFF81E5A5EB)


def test_a_vcpu_that_is_not_halted_is_awake() -> None:
    text = (REAL_MODE + LONG_MODE).replace("\n", "\r\n")
    assert parse_awake(text, 2) == (0,)
    assert parse_awake(text.replace("HLT=0", "HLT=1"), 2) == ()
    assert parse_awake(text.replace("HLT=1", "HLT=0"), 2) == (0, 1)


@pytest.mark.parametrize(("text", "cpus"), [("", 1), (REAL_MODE, 2), (REAL_MODE + LONG_MODE, 1), ("HLT=2", 1)])
def test_vcpus_of_which_nothing_is_known_are_refused(text: str, cpus: int) -> None:
    with pytest.raises(HostError, match=f"halted, expected {cpus}"):
        parse_awake(text, cpus)


@given(st.text(max_size=500))
def test_any_text_is_refused_or_has_all_vcpus(text: str) -> None:
    with pytest.raises(HostError):
        parse_registers(text, 1)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.fields import RESERVED_KARGS
from ktstr.config.topology import PRESETS, Node, Topology, of_nodes
from ktstr.errors import InputError
from ktstr.resources import c_dir
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import memory_mib
from ktstr.vm.qemu_args import (
    ACCELS,
    LAST_APIC_ID,
    PLACEHOLDERS,
    PROGRAM_FILE,
    QemuAccel,
    QemuFiles,
    Role,
    icount_shift,
    last_apic_id,
    qemu_args,
)


def spec(label: str, *kernel_args: str, memory: int | None = None) -> GuestSpec:
    topology = Topology.parse(label)
    return GuestSpec(Path("/k"), (), topology, memory or memory_mib(topology), kernel_args)


def cold(spec: GuestSpec, accel: QemuAccel, files: QemuFiles = PLACEHOLDERS) -> tuple[str, ...]:
    return qemu_args(spec, accel, files, "cold")


def option(args: tuple[str, ...], name: str) -> list[str]:
    return [args[i + 1] for i, word in enumerate(args) if word == name]


def test_each_node_is_a_package_and_each_of_its_llcs_a_die() -> None:
    args = cold(spec("2n4l3c2t"), "tcg")
    assert option(args, "-smp") == ["cpus=24,sockets=2,dies=2,cores=3,threads=2,maxcpus=24"]


def test_one_node_needs_no_numa_options() -> None:
    assert option(cold(spec("1n2l2c1t"), "tcg"), "-numa") == []


UNLIKE = replace(
    of_nodes([Node((1, 2)), Node((1,), 0), Node((), 64)], 2), distances=((10, 30, 50), (30, 10, 40), (50, 40, 10))
)


def unlike(topology: Topology = UNLIKE) -> GuestSpec:
    return GuestSpec(Path("/k"), (), topology, memory_mib(topology))


def test_cpus_of_llcs_that_differ_are_plugged_in_one_by_one() -> None:
    args = cold(unlike(), "icount")
    assert option(args, "-smp") == ["cpus=1,sockets=2,dies=2,cores=2,threads=2,maxcpus=16"]
    cpus = [device.partition(",")[2] for device in option(args, "-device") if device.startswith("max-x86_64-cpu,")]
    assert cpus == [
        "socket-id=0,die-id=0,core-id=0,thread-id=1",
        "socket-id=0,die-id=1,core-id=0,thread-id=0", "socket-id=0,die-id=1,core-id=0,thread-id=1",
        "socket-id=0,die-id=1,core-id=1,thread-id=0", "socket-id=0,die-id=1,core-id=1,thread-id=1",
        "socket-id=1,die-id=0,core-id=0,thread-id=0", "socket-id=1,die-id=0,core-id=0,thread-id=1",
    ]  # fmt: skip
    assert option(args, "-append")[0].endswith(" possible_cpus=8")
    assert "possible_cpus" not in kernel_command_line(unlike(), "kvm")
    plain = cold(spec("2n4l2c2t"), "icount")
    assert "possible_cpus" not in option(plain, "-append")[0]
    assert not any("-cpu," in device for device in option(plain, "-device"))


def test_nodes_without_memory_have_none_and_those_without_cpus_the_nearest_ones() -> None:
    args = cold(unlike(), "tcg")
    assert option(args, "-m") == ["576M"]
    assert option(args, "-object") == [
        "memory-backend-file,id=node0,size=512M,mem-path=node0,share=on",
        "memory-backend-file,id=node2,size=64M,mem-path=node1,share=on",
    ]
    assert option(args, "-machine")[0].endswith(",hmat=on")
    numa = option(args, "-numa")
    assert [words for words in numa if words.startswith(("node", "cpu"))] == [
        "node,nodeid=0,memdev=node0", "cpu,node-id=0,socket-id=0", "node,nodeid=1", "cpu,node-id=1,socket-id=1",
        "node,nodeid=2,memdev=node2,initiator=1",
    ]  # fmt: skip
    latency = "hierarchy=memory,data-type=access-latency,latency"
    assert [words for words in numa if "latency" in words] == [
        f"hmat-lb,initiator=0,target=0,{latency}=100", f"hmat-lb,initiator=0,target=2,{latency}=500",
        f"hmat-lb,initiator=1,target=0,{latency}=300", f"hmat-lb,initiator=1,target=2,{latency}=400",
    ]  # fmt: skip
    assert "hmat-lb,initiator=1,target=2,hierarchy=memory,data-type=access-bandwidth,bandwidth=12800M" in numa


def test_llcs_too_unlike_for_the_emulator_are_refused() -> None:
    with pytest.raises(InputError, match="needs room for 8000 CPUs, expected at most 4096"):
        cold(unlike(of_nodes([Node((100,)), Node((1,) * 40)])), "tcg")


def test_nodes_share_the_memory_and_have_their_distances() -> None:
    declared = replace(spec("2n2l1c1t", memory=1024), topology=Topology(2, 2, 1, 1, ((10, 31), (31, 10))))
    args = cold(declared, "tcg")
    assert option(args, "-m") == ["1024M"]
    assert option(args, "-object") == [
        "memory-backend-file,id=node0,size=512M,mem-path=node0,share=on",
        "memory-backend-file,id=node1,size=512M,mem-path=node1,share=on",
    ]
    assert "memory-backend" not in option(args, "-machine")[0]
    assert option(args, "-numa") == [
        "node,nodeid=0,memdev=node0",
        "cpu,node-id=0,socket-id=0",
        "node,nodeid=1,memdev=node1",
        "cpu,node-id=1,socket-id=1",
        "dist,src=0,dst=1,val=31",
        "dist,src=1,dst=0,val=31",
    ]


def test_memory_of_a_single_node_is_a_file_too() -> None:
    args = cold(spec("1n2l1c1t", memory=640), "icount", replace(PLACEHOLDERS, memory=["/proc/self/fd/9"]))
    assert option(args, "-object") == ["memory-backend-file,id=node0,size=640M,mem-path=/proc/self/fd/9,share=on"]
    assert option(args, "-machine")[0].endswith(",memory-backend=node0")


def test_memory_that_the_nodes_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match="topology 2n2l1c1t: 513 MiB cannot be dealt evenly to 2 NUMA nodes"):
        cold(spec("2n2l1c1t", memory=513), "tcg")


def test_icount_fixes_all_that_changes_a_run() -> None:
    args = cold(spec("1n1l4c1t"), "icount")
    assert option(args, "-accel") == ["tcg,thread=single,tb-size=256"]
    assert option(args, "-icount") == ["shift=3,sleep=off"]
    assert option(args, "-seed") == ["1"]
    assert option(args, "-rtc") == ["base=2024-01-01T00:00:00,clock=vm"]
    assert {"-rdrand", "-rdseed"} <= set(option(args, "-cpu")[0].split(","))
    assert {"nokaslr", "random.trust_cpu=off"} <= set(option(args, "-append")[0].split())
    assert "virtio-serial-pci,ioeventfd=off" in option(args, "-device")


def test_tcg_runs_a_thread_for_each_vcpu_in_real_time() -> None:
    args = cold(spec("1n1l4c1t"), "tcg")
    assert option(args, "-accel") == ["tcg,thread=multi,tb-size=256"]
    assert option(args, "-icount") == []
    assert "tsc_early_khz" not in option(args, "-append")[0]


def test_nothing_goes_into_the_guest_while_it_runs() -> None:
    """What its devices are connected to can only be written to; the one socket is the monitor's."""
    args = cold(spec("1n1l4c1t"), "icount")
    assert option(args, "-chardev") == [
        "file,id=console,path=console.log",
        "file,id=channel,path=channel.bin",
        "socket,id=monitor,monitor",
    ]
    assert option(args, "-mon") == ["chardev=monitor,mode=control"]
    assert option(args, "-serial") == ["chardev:console"]
    assert [word for word in option(args, "-device") if "chardev" in word] == [
        "virtserialport,chardev=channel,name=ktstr.0"
    ]
    assert not {"-monitor", "-qmp", "-netdev", "-nic"} & set(args)


def pairs(args: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Each option with its value."""
    found: list[tuple[str, ...]] = []
    for word in args:
        if word.startswith("-"):
            found.append((word,))
        else:
            found[-1] += (word,)
    return found


@pytest.mark.parametrize("accel", ACCELS)
def test_a_machine_that_is_parked_differs_from_a_cold_one_by_what_parks_it(accel: QemuAccel) -> None:
    usual, parks = (pairs(qemu_args(spec("2n4l1c2t"), accel, PLACEHOLDERS, role)) for role in ("cold", "park"))
    line = ("-append", kernel_command_line(spec("2n4l1c2t"), accel))
    assert [p for p in usual if p not in parks] == [line]
    assert [p for p in parks if p not in usual] == [
        ("-append", kernel_command_line(spec("2n4l1c2t"), accel, parks=True)),
        ("-device", "ib700"),
        ("-action", "watchdog=pause"),
        ("-S",),
    ]
    words = [set(option(qemu_args(spec("2n4l1c2t"), accel, PLACEHOLDERS, role), "-append")[0].split())
             for role in ("cold", "park")]  # fmt: skip
    assert words[1] - words[0] == {"ktstr.park"} and not words[0] - words[1]


@pytest.mark.parametrize("accel", ACCELS)
def test_a_clone_differs_from_what_was_parked_by_where_it_begins(accel: QemuAccel) -> None:
    parks, clone = (pairs(qemu_args(spec("2n4l1c2t"), accel, PLACEHOLDERS, role)) for role in ("park", "clone"))
    assert [p for p in parks if p not in clone] == [
        ("-kernel", "vmlinux"),
        ("-initrd", "initrd.cpio"),
        ("-append", kernel_command_line(spec("2n4l1c2t"), accel, parks=True)),
        ("-S",),
        ("-chardev", "file,id=console,path=console.log"),
        ("-chardev", "file,id=channel,path=channel.bin"),
    ]
    assert [p for p in clone if p not in parks] == [
        ("-fw_cfg", "name=opt/ktstr/program,file=program"),
        ("-incoming", "defer"),
        ("-chardev", "file,id=console,append=on,path=console.log"),
        ("-chardev", "file,id=channel,append=on,path=channel.bin"),
    ]
    assert [p for p in parks if p[0] == "-device"] == [p for p in clone if p[0] == "-device"]  # and in this order


def test_the_agent_looks_for_the_program_where_a_clone_has_it() -> None:
    intake = (c_dir() / "guest/pid1/intake.c").read_text()
    assert f'#define PROGRAM_FILE "{PROGRAM_FILE}"' in intake
    assert '#define PARK_ARGUMENT "ktstr.park"' in intake


@pytest.mark.parametrize(
    ("cpus", "shift"), [(1, 3), (4, 3), (6, 3), (7, 2), (9, 2), (12, 2), (13, 1), (16, 1), (24, 1), (25, 0), (64, 0)]
)
def test_an_instruction_is_shorter_on_larger_machines(cpus: int, shift: int) -> None:
    assert icount_shift(cpus) == shift


@given(st.integers(1, 512))
def test_more_cpus_never_get_longer_instructions(cpus: int) -> None:
    assert 0 <= icount_shift(cpus + 1) <= icount_shift(cpus) <= 3


def test_a_comma_in_a_path_stays_part_of_it() -> None:
    files = replace(PLACEHOLDERS, channel="/a,b/c", console="/d,e")
    chardevs = option(cold(spec("1n1l1c1t"), "tcg", files), "-chardev")
    assert chardevs[:2] == ["file,id=console,path=/d,,e", "file,id=channel,path=/a,,b/c"]


def test_the_users_kernel_arguments_come_last_and_in_order() -> None:
    line = kernel_command_line(spec("1n1l1c1t", "sysctl.kernel.a=1", "mitigations=auto"), "icount")
    assert line.endswith(" sysctl.kernel.a=1 mitigations=auto")
    assert "console=ttyS0" in line.split()


def test_behind_many_vcpus_on_threads_there_are_empty_packages() -> None:
    """Ids of 2 x 8 x 4 x 2 have 7 bits, so the fifth package of 32 is the first with an id of 256."""
    args = cold(spec("2n16l4c2t"), "tcg")
    assert option(args, "-smp") == ["cpus=128,sockets=5,dies=8,cores=4,threads=2,maxcpus=320"]
    assert [word for word in option(args, "-numa") if word.startswith("cpu,")] == [
        "cpu,node-id=0,socket-id=0",
        "cpu,node-id=1,socket-id=1",
        "cpu,node-id=0,socket-id=2",
        "cpu,node-id=0,socket-id=3",
        "cpu,node-id=0,socket-id=4",
    ]
    assert "nr_cpus=128" in option(args, "-append")[0].split()


@pytest.mark.parametrize(("label", "accel"), [("1n4l8c1t", "tcg"), ("1n8l4c2t", "icount")])
def test_others_have_what_their_ids_need(label: str, accel: QemuAccel) -> None:
    args = cold(spec(label), accel)
    cpus = Topology.parse(label).cpus
    assert option(args, "-smp")[0].startswith(f"cpus={cpus},sockets=1,")
    assert option(args, "-smp")[0].endswith(f",maxcpus={cpus}")
    assert "nr_cpus" not in option(args, "-append")[0]


def test_apic_ids_have_whole_bits_for_each_level() -> None:
    """max-cpu: 14 LLCs in 4 bits, 9 cores in 4, 2 threads in 1."""
    assert last_apic_id(Topology.parse(PRESETS["max-cpu"])) == 13 * 32 + 8 * 2 + 1 == 433
    assert last_apic_id(Topology.parse(PRESETS["near-max-llc"])) == 14 * 16 + 15 == 239
    assert last_apic_id(Topology.parse("2n2l3c1t")) == 4 + 2
    others = {name for name, label in PRESETS.items() if last_apic_id(Topology.parse(label)) > LAST_APIC_ID}
    assert others == {"max-cpu", "max-cpu-nosmt"}


def test_only_counted_instructions_keep_a_model_whose_tsc_the_kernel_measures_on_each_cpu() -> None:
    icount, tcg = (option(cold(spec("1n1l4c1t"), accel), "-cpu")[0] for accel in ("icount", "tcg"))
    assert "model=" not in icount
    assert tcg == icount.replace("max,", "max,family=6,model=58,")


@pytest.mark.parametrize("name", sorted(RESERVED_KARGS))
def test_what_ktstr_needs_is_not_the_users_to_set(name: str) -> None:
    for arg in (name, f"{name}=1"):
        with pytest.raises(InputError, match=r"ktstr sets .* itself"):
            kernel_command_line(spec("1n1l1c1t", arg), "icount")


@pytest.mark.parametrize("arg", ["", "a b", "a\nb", "a\0", "\x1b[31m"])
def test_an_argument_that_is_not_one_word_is_refused(arg: str) -> None:
    with pytest.raises(InputError, match="expected one printable word"):
        kernel_command_line(spec("1n1l1c1t", arg), "icount")


def test_a_line_longer_than_the_kernel_keeps_is_refused() -> None:
    with pytest.raises(InputError, match="expected at most 2047"):
        kernel_command_line(spec("1n1l1c1t", "a=" + "x" * 2000), "icount")


@given(st.sampled_from(sorted(PRESETS.values())), st.sampled_from(ACCELS), st.sampled_from(get_args(Role)))
def test_every_preset_has_a_command_line_without_host_paths(label: str, accel: QemuAccel, role: Role) -> None:
    args = qemu_args(spec(label), accel, PLACEHOLDERS, role)
    assert not [word for word in args if word.startswith("/") or "=/" in word.replace("rdinit=/init", "")]
    sizes = dict(item.split("=") for item in option(args, "-smp")[0].split(","))
    assert int(sizes["sockets"]) * int(sizes["dies"]) * int(sizes["cores"]) * int(sizes["threads"]) == int(
        sizes["maxcpus"]
    )
    assert int(sizes["cpus"]) == Topology.parse(label).cpus

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from jsonschema import Draft202012Validator
from msgspec import UNSET, to_builtins

from ktstr.host.context import capture
from ktstr.record.host import Host

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/sidecar.schema.json").read_text())
HOST = Draft202012Validator({"$ref": "#/$defs/Host", "$defs": SCHEMA["$defs"]})
UNAME = os.uname_result(("Linux", "secret-name", "6.1.0-x", "#1 SMP", "x86_64"))

FILES = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: A CPU: fast\n"
    "\nprocessor\t: 1\nvendor_id\t: Other\n",
    "proc/meminfo": "MemTotal:       24671540 kB\nHugePages_Total:       3\nHugePages_Free:        1\n"
    "Hugepagesize:       2048 kB\nodd\n",
    "proc/cmdline": "root=/dev/vda ro\n",
    "proc/sys/kernel/sched_rt_runtime_us": "950000\n",
    "proc/sys/kernel/ostype": "Linux\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "[always] defer\n",
    "sys/devices/system/cpu/online": "0-1,4\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu4/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu9/cpufreq/scaling_governor": "offline\n",
    "sys/devices/system/node/node0/cpulist": "0-1\n",
    "sys/devices/system/node/node1/cpulist": "4\n",
    "sys/devices/system/node/node2/cpulist": "\n",
}


def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_field_is_read_from_its_source(tmp_path: Path) -> None:
    assert capture(root(tmp_path), UNAME) == Host(
        cpu_model="A CPU: fast",
        cpu_vendor="GenuineIntel",
        total_memory_kb=24671540,
        hugepages_total=3,
        hugepages_free=1,
        hugepages_size_kb=2048,
        thp_enabled="always [madvise] never",
        thp_defrag="[always] defer",
        sched_tunables={"sched_rt_runtime_us": "950000"},
        online_cpus=3,
        numa_nodes=2,
        cpufreq_governor={"0": "performance", "4": "powersave"},
        kernel_name="Linux",
        kernel_release="6.1.0-x",
        arch="x86_64",
        kernel_cmdline="root=/dev/vda ro",
    )


def test_the_sidecars_form_is_valid_and_does_not_name_the_node(tmp_path: Path) -> None:
    found = to_builtins(capture(root(tmp_path), UNAME))
    HOST.validate(found)
    assert found["cpufreq_governor"] == {"0": "performance", "4": "powersave"}
    assert "secret-name" not in json.dumps(found)


def test_what_cannot_be_read_is_absent(tmp_path: Path) -> None:
    found = to_builtins(capture(tmp_path, UNAME))
    assert found == {"kernel_name": "Linux", "kernel_release": "6.1.0-x", "arch": "x86_64"}


def test_a_readable_directory_without_tunables_is_empty_not_absent(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    assert to_builtins(capture(tmp_path, UNAME))["sched_tunables"] == {}


def test_a_machine_without_nodes_has_one(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    assert capture(tmp_path, UNAME).numa_nodes == 1


def test_this_host_agrees_with_the_standard_library() -> None:
    found = capture()
    assert (found.arch, found.kernel_release) == (platform.machine(), platform.release())
    assert found.online_cpus == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found.total_memory_kb is not UNSET
    assert found.total_memory_kb == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    HOST.validate(to_builtins(found))

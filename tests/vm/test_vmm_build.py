from __future__ import annotations

import os
import re
import shutil
import sysconfig
from pathlib import Path

import pytest

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.errors import Changed, HostError, InputError
from ktstr.host.cache import Cache
from ktstr.vm import agent, vmm_build
from ktstr.vm.vmm import Flag, VmmConfig, VmmError, reasons
from tests.host.waits import cancelled_soon, failing_tool, hanging_tool

CC = agent.compiler(os.environ)
HEADER = (resources.c_dir() / "include" / "ktstr_vmm.h").read_text(encoding="ascii")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the sources, to be edited."""
    return Path(shutil.copytree(resources.c_dir(), tmp_path / "c"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> object:
    out = tmp_path_factory.mktemp("vmm") / "deep" / vmm_build.FILE
    vmm_build.build(resources.c_dir(), CC, out)
    assert list(out.parent.iterdir()) == [out]
    return vmm_build.load_vmm(out)


def test_everything_the_header_declares_is_bound(library: object) -> None:
    declared = set(re.findall(r"\b(vmm_\w+)\(", re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)))
    assert "vmm_create" in declared
    assert declared <= set(dir(library.lib))  # type: ignore[attr-defined]


def test_flags_are_those_of_the_header(library: object) -> None:
    values = library.ffi.typeof("enum vmm_flag").relements  # type: ignore[attr-defined]
    assert {f"VMM_{flag.name}": flag.value for flag in Flag} == values


def test_reasons_have_the_headers_names(library: object) -> None:
    assert reasons(library)["power_off"] == 1
    assert {"triple_fault", "internal_error", "fail_entry", "host_error", "deadline"} <= set(reasons(library))


def test_the_digest_follows_sources_and_header(sources: Path) -> None:
    digests = {vmm_build.inputs_digest(sources, CC)}
    for name in ("core/vm.c", "core/vm.h", "include/ktstr_vmm.h"):
        with (sources / name).open("a") as file:
            file.write("/* changed */\n")
        digests.add(vmm_build.inputs_digest(sources, CC))
    assert len(digests) == 4
    (sources / "guest/main.c").write_text("changed")
    assert vmm_build.inputs_digest(sources, CC) in digests


def test_a_source_that_does_not_compile_is_quoted_and_leaves_nothing(sources: Path, tmp_path: Path) -> None:
    (sources / "core/vm.c").write_text("int broken(void) { return no_such_name; }\n")
    out = tmp_path / "out" / vmm_build.FILE
    with pytest.raises(InputError, match="no_such_name"):
        vmm_build.build(sources, CC, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["/* more */", "not C at all"])
def test_an_edit_while_the_vmm_compiles_stores_nothing(
    sources: Path, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "c_dir", lambda: sources)
    cc = tmp_path / "cc"
    edit = f"echo '{text}' >>{sources / 'core/vm.h'}"
    cc.write_text(f'#!/bin/sh\ncase "$*" in *-std=*) {edit} ;; esac\nexec {CC} "$@"\n')
    cc.chmod(0o755)
    planned = vmm_build.planned(Cache(tmp_path / "cache"), {**os.environ, "CC": str(cc)})
    with pytest.raises(Changed, match=r"the VMM's sources .* changed while ktstr was running"):
        planned.make()
    assert list(planned.path.parent.iterdir()) == []


def test_an_edit_since_the_plan_stores_no_vmm(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "c_dir", lambda: sources)
    planned = vmm_build.planned(Cache(tmp_path / "cache"), os.environ)
    (sources / "core/added.h").write_text("")
    with pytest.raises(Changed):
        planned.make()
    assert list(planned.path.parent.iterdir()) == []


def test_what_is_compiled_from_the_planned_inputs_is_kept(tmp_path: Path) -> None:
    planned = vmm_build.planned(Cache(tmp_path / "cache"), os.environ)
    planned.make()
    assert planned.path.is_file()


def test_compilers_that_hang_end_by_the_cancel(tmp_path: Path) -> None:
    cancel, out = Cancel(), tmp_path / "out" / vmm_build.FILE
    with cancelled_soon(cancel):
        vmm_build.Extension(out, "digest", hanging_tool(tmp_path / "cc", CC)).make(cancel)
    assert list(out.parent.iterdir()) == []


def test_a_full_disk_is_not_called_a_source_that_does_not_compile(tmp_path: Path) -> None:
    cc = failing_tool(tmp_path / "cc", "ld: final link failed: No space left on device")
    with pytest.raises(HostError, match=r"out: the disk is full"):
        vmm_build.build(resources.c_dir(), cc, tmp_path / "out" / vmm_build.FILE)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_declaration_that_the_code_does_not_keep_is_refused(sources: Path, tmp_path: Path) -> None:
    header = sources / "include/ktstr_vmm.h"
    header.write_text(HEADER.replace("uint32_t vmm_cpus(const struct vmm *vmm);", "char *vmm_cpus(int vmm);"))
    with pytest.raises(InputError, match="conflicting types"):
        vmm_build.build(sources, CC, tmp_path / "out" / vmm_build.FILE)


def test_a_python_without_headers_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(HostError, match=r"Python\.h: the headers of this Python are not installed") as caught:
        vmm_build.planned(Cache(tmp_path), os.environ)
    assert "python3-dev" in str(caught.value.fix)


def test_a_file_that_is_no_extension_is_refused(tmp_path: Path) -> None:
    (tmp_path / vmm_build.FILE).write_bytes(b"\x7fELF")
    with pytest.raises(HostError, match="cannot be loaded"):
        vmm_build.load_vmm(tmp_path / vmm_build.FILE)


def test_a_machine_that_cannot_be_is_an_exception_with_its_errno(library: object, tmp_path: Path) -> None:
    from ktstr.config.topology import Topology
    from ktstr.vm.vmm import Vmm

    with pytest.raises(VmmError) as caught:
        Vmm(library, VmmConfig(tmp_path / "nothing", Topology(1, 1, 1, 1), 128))
    assert caught.value.errno > 0
    assert caught.value.message.startswith("KVM: ")

"""Crates, built by the real cargo from a registry that is a folder: small ones, in a second each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.config.model import Crate, SchedulerDecl
from ktstr.errors import HostError, InputError
from ktstr.host.cache import Cache
from ktstr.progress import Steps
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.crate import SIZE
from ktstr.schedulers.find import find_scheduler
from ktstr.tools.pinned import BpfTools

ROOT = Path(__file__).parents[2]
WHERE = "ktstr.yaml:7:11"
MAIN = """\
fn main() {
    println!("{} {} {}", env!("CARGO_PKG_VERSION"), cfg!(feature = "loud"), option_env!("BPF_CLANG").is_some());
    if std::env::args().count() > 9 { panic!("in {}", file!()); }
}
"""
SLOW = """\
fn main() {
    std::fs::write("STARTED", std::process::id().to_string()).unwrap();
    while !std::path::Path::new("GO").exists() { std::thread::sleep(std::time::Duration::from_millis(20)); }
}
"""
CARGO = 'name = "{name}"\nversion = "{version}"\nedition = "2021"\n'


@dataclass(frozen=True)
class Registry:
    """A registry in a folder of a cargo home of its own, and what a build from it is asked with."""

    home: Path
    build: Build

    def publish(self, name: str, version: str, more: str = "", **files: str) -> Crate:
        """A crate with its own lock file. ``files``: contents by path, ``/`` written as ``__``."""
        folder = self.home / "registry-folder" / f"{name}-{version}"
        sources = {"src__main": MAIN, **files}
        for place, text in sources.items():
            path = folder / f"{place.replace('__', '/')}.rs"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        manifest = CARGO.format(name=name, version=version)
        (folder / "Cargo.toml").write_text(f"[package]\n{manifest}{more}\n[features]\nloud = []\n")
        lock = CARGO.format(name=name, version=version).replace('edition = "2021"\n', "")
        (folder / "Cargo.lock").write_text(f"version = 3\n\n[[package]]\n{lock}")
        (folder / ".cargo-checksum.json").write_text('{"files": {}}')
        return Crate(name, version)

    def plan(self, crate: Crate, build: Build | None = None) -> Artifact:
        artifact = find_scheduler(SchedulerDecl("mine", crate, where=WHERE), build or self.build)
        assert artifact is not None
        return artifact

    def with_environ(self, **more: str) -> Build:
        return replace(self.build, environ={**self.build.environ, **more})


def elsewhere(function: str, folder: Path) -> list[str]:
    """What calls a function of this file in a process of its own."""
    call = f"from tests.schedulers.test_crate import {function}; {function}(sys.argv[2])"
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {call}", str(ROOT), str(folder)]


def wait_for(reached: Callable[[], bool]) -> None:
    """Raise AssertionError unless it comes within a minute."""
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def no_tools() -> BpfTools:
    raise HostError("the BPF tools cannot be had")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    home = tmp_path / "cargo home"
    (home / "registry-folder").mkdir(parents=True)
    folder = json.dumps(str(home / "registry-folder"))
    (home / "config.toml").write_text(
        f'[source.crates-io]\nreplace-with = "folder"\n[source.folder]\ndirectory = {folder}\n'
    )
    environ = {**os.environ, "CARGO_HOME": str(home)}
    return Registry(home, Build("", "", "", tmp_path / "nosuch", no_tools, Cache(tmp_path / "cache"), environ))


def make(artifact: Artifact) -> str:
    """Build unless it is fresh; what the program prints."""
    assert artifact.build is not None and artifact.fresh is not None
    if not artifact.fresh():
        artifact.build()
    assert artifact.fresh()
    artifact.verify()
    return subprocess.run([artifact.binary], capture_output=True, text=True, check=True).stdout.strip()


def counting(registry: Registry, tmp_path: Path, *names: str) -> tuple[Build, Path]:
    """Tools that write down how they are called."""
    (tmp_path / "bin").mkdir()
    log = tmp_path / "called"
    for name in names:
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\necho "{name} $1" >>{log}\nexec {shutil.which(name)} "$@"\n')
        script.chmod(0o755)
    return registry.with_environ(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"), log


def test_a_crate_is_built_with_its_features_and_known_by_them(registry: Registry) -> None:
    one = registry.publish("scx_tiny", "1.0.0")
    two = registry.publish("scx_tiny", "1.2.0-rc.1")
    loud = replace(one, features=("loud",))
    assert [make(registry.plan(crate)) for crate in (one, two, loud)] == [
        "1.0.0 false true",
        "1.2.0-rc.1 false true",
        "1.0.0 true true",
    ]
    artifacts = [registry.plan(crate) for crate in (one, two, loud)]
    assert len({artifact.inputs for artifact in artifacts}) == 3
    assert [artifact.name for artifact in artifacts] == ["scx_tiny@1.0.0", "scx_tiny@1.2.0-rc.1", "scx_tiny@1.0.0"]


def test_the_entry_says_what_it_was_made_from(registry: Registry) -> None:
    artifact = registry.plan(registry.publish("scx_tiny", "1.0.0"))
    make(artifact)
    assert artifact.binary == registry.build.cache.entry("schedulers", artifact.inputs) / "scx_tiny"
    assert sorted(path.name for path in artifact.binary.parent.iterdir()) == ["metadata.json", "scx_tiny"]
    assert artifact.target is not None
    facts = json.loads(artifact.target.read_text())
    assert (facts["name"], facts["version"], facts["features"]) == ("scx_tiny", "1.0.0", [])
    assert sorted(facts["toolchain"]) == ["cargo", "clang", "rustc"]
    assert facts["settings"]["CARGO_PROFILE_RELEASE_LTO"] == "off"
    assert facts["settings"]["SCX_SKIP_PAHOLE_CHECK"] == "1"


def test_the_guests_memory_does_not_depend_on_whether_it_was_built(registry: Registry) -> None:
    crate = registry.publish("scx_tiny", "1.0.0")
    before = registry.plan(crate)
    make(before)
    assert before.size == registry.plan(crate).size == SIZE


def test_planning_asks_the_tools_what_they_are_and_a_built_crate_nothing_more(
    registry: Registry, tmp_path: Path
) -> None:
    build, log = counting(registry, tmp_path, "cargo", "rustc", "clang-19")
    crate = registry.publish("scx_tiny", "1.0.0")
    make(registry.plan(crate, build))
    assert "cargo install" in log.read_text()
    log.write_text("")
    for _ in range(3):
        make(registry.plan(crate, build))
    assert log.read_text() == "", "once in a process"
    subprocess.run(elsewhere("replan", tmp_path), env=dict(build.environ), check=True, cwd=ROOT)
    assert sorted(log.read_text().splitlines()) == ["cargo --version", "clang-19 --version", "rustc --version"]


def replan(folder: str) -> None:
    """Two plans in a process of its own, of what was built before."""
    build = Build("", "", "", Path("nosuch"), no_tools, Cache(Path(folder) / "cache"), os.environ)
    for name in ("one", "two"):
        artifact = find_scheduler(SchedulerDecl(name, Crate("scx_tiny", "1.0.0"), where=WHERE), build)
        assert artifact is not None and artifact.fresh is not None and artifact.fresh()


def test_another_compiler_or_search_path_is_another_program_and_rustflags_are_not(
    registry: Registry, tmp_path: Path
) -> None:
    crate = registry.publish("scx_tiny", "1.0.0")
    plain = registry.plan(crate).inputs
    (tmp_path / "bin").mkdir()
    rustc = tmp_path / "bin/rustc"
    rustc.write_text('#!/bin/sh\necho "rustc 1.999.0"\n')
    rustc.chmod(0o755)
    others = [
        registry.with_environ(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"),
        registry.with_environ(LIBRARY_PATH="/opt/lib"),
        registry.with_environ(BPF_CFLAGS="-O1"),
    ]
    assert len({plain, *(registry.plan(crate, build).inputs for build in others)}) == 4
    for name in ("RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_PROFILE_RELEASE_DEBUG"):
        assert registry.plan(crate, registry.with_environ(**{name: "-Cdebuginfo=2"})).inputs == plain


def test_neither_the_users_flags_nor_this_machines_folders_are_in_the_program(registry: Registry) -> None:
    crate = registry.publish("scx_tiny", "1.0.0")
    build = registry.with_environ(RUSTFLAGS="--cfg no_such_flag -Cno_such_option")
    (registry.home / "config.toml").open("a").write('[build]\nrustflags = ["-Cno_such_option"]\n')
    artifact = registry.plan(crate, build)
    make(artifact)
    program = artifact.binary.read_bytes()
    assert b"/cargo/registry-folder/scx_tiny-1.0.0" in program
    assert str(registry.home.parent).encode() not in program


def test_cargos_progress_is_told_in_units_and_no_bar_is_in_the_log(registry: Registry) -> None:
    told: list[tuple[str, Steps]] = []

    def progress(what: str) -> Callable[[Steps], None]:
        return lambda steps: told.append((what, steps))

    crate = registry.publish("scx_tiny", "1.0.0")
    make(registry.plan(crate, replace(registry.build, progress=progress)))
    assert told and {what for what, _ in told} == {"scheduler scx_tiny@1.0.0"}
    assert all(steps.total == 1 and steps.units == "units" for _, steps in told)
    log = (registry.build.cache.root / "logs/scx_tiny@1.0.0.log").read_text()
    assert "Compiling scx_tiny v1.0.0" in log and "[" not in log.replace("[optimized]", "") and "\x1b" not in log


def test_what_does_not_compile_is_told_by_the_compilers_words(registry: Registry) -> None:
    crate = registry.publish("scx_bad", "1.0.0", src__main='fn main() { let a: u32 = "text"; }\n')
    artifact = registry.plan(crate)
    with pytest.raises(InputError) as caught:
        make(artifact)
    message = caught.value.message
    assert message.startswith(f"{WHERE}: crate scx_bad@1.0.0: does not build:\n")
    assert "expected `u32`, found `&str`" in message and "\x1b" not in message
    assert "scx_bad@1.0.0.log" in (caught.value.fix or "")
    assert not artifact.binary.parent.exists()


def test_a_crate_or_version_that_nobody_published_is_the_users_mistake(registry: Registry) -> None:
    registry.publish("scx_tiny", "1.0.0")
    for crate in (Crate("scx_nosuch", "1.0.0"), Crate("scx_tiny", "9.9.9")):
        with pytest.raises(InputError, match=rf"crate {crate.name}@{crate.version}: found no such crate or version:"):
            make(registry.plan(crate))
        with pytest.raises(HostError, match="offline=1, and not all of it is here:"):
            make(registry.plan(crate, replace(registry.build, offline=True)))


def test_an_unknown_feature_is_named(registry: Registry) -> None:
    crate = replace(registry.publish("scx_tiny", "1.0.0"), features=("quiet",))
    with pytest.raises(InputError, match="does not contain this feature: quiet"):
        make(registry.plan(crate))


def test_a_crate_for_a_newer_rust_is_the_machines_lack(registry: Registry) -> None:
    crate = registry.publish("scx_new", "1.0.0", 'rust-version = "1.999"\n')
    with pytest.raises(HostError, match=r"this machine's Rust is too old for it:\n.*1\.999") as caught:
        make(registry.plan(crate))
    assert "rustup toolchain install stable" in (caught.value.fix or "")


def test_of_several_programs_the_one_with_the_crates_name_is_meant(registry: Registry) -> None:
    both = registry.publish("scx_tiny", "1.0.0", src__bin__helper="fn main() {}\n")
    assert make(registry.plan(both)) == "1.0.0 false true"
    named = '[[bin]]\nname = "{0}"\npath = "src/main.rs"\n'
    one = registry.publish("scx_alias", "1.0.0", named.format("other"))
    assert make(registry.plan(one)) == "1.0.0 false true"
    two = registry.publish("scx_two", "1.0.0", named.format("a") + named.format("b"))
    with pytest.raises(InputError, match="found the programs a, b, expected one called scx_two"):
        make(registry.plan(two))
    library = registry.publish("scx_lib", "1.0.0", src__lib="", src__main="")
    (registry.home / "registry-folder/scx_lib-1.0.0/src/main.rs").unlink()
    with pytest.raises(InputError, match=r"crate scx_lib@1\.0\.0: does not build:\n.*there is nothing to install"):
        make(registry.plan(library))


def test_a_library_that_is_not_in_the_images_key_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    link = ["gcc", "-x", "c", "-", "-shared", "-fPIC", "-Wl,-soname,libown.so.1", "-o", str(folder / "libown.so")]
    subprocess.run(link, input=b"int own(void) { return 1; }\n", check=True)
    (folder / "libown.so.1").symlink_to("libown.so")
    script = f'fn main() {{ println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}"); }}\n'
    main = '#[link(name = "own")] extern "C" { fn own() -> i32; }\nfn main() { unsafe { own(); } }\n'
    crate = registry.publish("scx_own", "1.0.0", src__main=main, build=script)
    artifact = registry.plan(crate, registry.with_environ(LIBRARY_PATH=str(folder)))
    with pytest.raises(InputError, match=r"crate scx_own@1\.0\.0: needs libown\.so\.1, expected none but "):
        make(artifact)
    assert not artifact.binary.parent.exists()


def test_a_program_that_was_replaced_is_built_again(registry: Registry) -> None:
    artifact = registry.plan(registry.publish("scx_tiny", "1.0.0"))
    make(artifact)
    shutil.copy("/bin/true", artifact.binary)
    assert artifact.fresh is not None and not artifact.fresh()
    assert make(artifact) == "1.0.0 false true"


def test_without_cargo_the_way_to_get_it_is_told(registry: Registry, tmp_path: Path) -> None:
    crate = registry.publish("scx_tiny", "1.0.0")
    with pytest.raises(HostError, match="cargo is not installed: a scheduler declared by crate:") as caught:
        registry.plan(crate, registry.with_environ(PATH=str(tmp_path)))
    assert "rustup" in (caught.value.fix or "") and "1.91" in (caught.value.fix or "")
    (tmp_path / "bin").mkdir()
    for name in ("cargo", "rustc"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\necho "error: no default toolchain" >&2\nexit 1\n')
        (tmp_path / "bin" / name).chmod(0o755)
    with pytest.raises(HostError, match="cargo --version failed: error: no default toolchain"):
        registry.plan(crate, registry.with_environ(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"))


def slow(registry: Registry, tmp_path: Path) -> Crate:
    """A crate whose build script waits for the file ``go``, and tells that it runs in ``started``."""
    script = SLOW.replace("STARTED", str(tmp_path / "started")).replace("GO", str(tmp_path / "go"))
    return registry.publish("scx_slow", "1.0.0", build=script)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_two_that_ask_at_once_build_once(registry: Registry, tmp_path: Path) -> None:
    build, log = counting(registry, tmp_path, "cargo")
    artifact = registry.plan(slow(registry, tmp_path), build)
    assert artifact.build is not None
    threads = [threading.Thread(target=artifact.build) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for((tmp_path / "started").exists)
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(60)
    assert make(artifact) == "1.0.0 false true"
    assert log.read_text().splitlines().count("cargo install") == 1


def test_cancelled_it_ends_with_all_that_it_started_and_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    cancel = Cancel()
    build = replace(registry.build, cache=Cache(registry.build.cache.root, cancel))
    artifact = registry.plan(slow(registry, tmp_path), build)

    def soon() -> None:
        wait_for((tmp_path / "started").exists)
        cancel.set()

    thread = threading.Thread(target=soon)
    thread.start()
    assert artifact.build is not None
    with pytest.raises(Cancelled):
        artifact.build()
    thread.join()
    wait_for(lambda: gone(int((tmp_path / "started").read_text())))
    assert list((registry.build.cache.root / "schedulers").iterdir()) == []


def killed(folder: str) -> None:
    """A build in a process of its own, which is killed meanwhile."""
    build = Build("", "", "", Path("nosuch"), no_tools, Cache(Path(folder) / "cache"), os.environ)
    artifact = find_scheduler(SchedulerDecl("mine", Crate("scx_slow", "1.0.0"), where=WHERE), build)
    assert artifact is not None and artifact.build is not None
    artifact.build()


def test_killed_it_leaves_nothing_that_is_used_and_the_next_builds(registry: Registry, tmp_path: Path) -> None:
    crate = slow(registry, tmp_path)
    process = subprocess.Popen(elsewhere("killed", tmp_path), env=dict(registry.build.environ), cwd=ROOT)
    wait_for(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text() != "")
    script = int((tmp_path / "started").read_text())
    cargo = int(Path(f"/proc/{script}/stat").read_text().split()[3])
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: gone(cargo))
    artifact = registry.plan(crate)
    assert artifact.fresh is not None and not artifact.fresh()
    (tmp_path / "go").touch()
    wait_for(lambda: gone(script))
    assert make(artifact) == "1.0.0 false true"
    assert [path.name for path in (registry.build.cache.root / "schedulers").iterdir()] == [artifact.inputs]

"""This machine's cargo: what it calls itself, and installing one published crate with it.

cargo starts in ``/`` and sees of the user's environment what finds registries and libraries: a project's own
``.cargo/config.toml`` or ``rust-toolchain.toml``, or RUSTFLAGS, would make another program of the same crate.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from ktstr.cancel import Cancel
from ktstr.config.model import Crate
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.files import full_or_denied
from ktstr.host.command import disk_full, read, start
from ktstr.progress import Steps
from ktstr.schedulers.toolchain import clang_version, find_clang

CARGO_FIX = (
    "install Rust: with rustup (rustup toolchain install stable), or from the distribution where it is new enough"
    " (apt-get install cargo); the scx schedulers of version 1.1.4 need Rust 1.91"
)
LIBRARIES_FIX = (
    "apt-get install --no-install-recommends gcc make pkg-config libelf-dev zlib1g-dev libseccomp-dev clang-19"
)
# What decides the program beside the sources: release builds as the scx project's own packages are, but without
# link-time optimization, which takes minutes more. Its build script compares this machine's pahole with what the
# machine's own kernel would need; the guest's kernel is another.
FLAGS = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_STRIP": "symbols",
    "CARGO_PROFILE_RELEASE_DEBUG": "0",
    "CARGO_INCREMENTAL": "0",
    "SCX_SKIP_PAHOLE_CHECK": "1",
    "SOURCE_DATE_EPOCH": "0",
    "LC_ALL": "C",
}
# Of the user's variables, those that change what is compiled and linked.
BUILD_VARIABLES = (
    "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "PKG_CONFIG_PATH", "LIBCLANG_PATH",
    "BPF_BASE_CFLAGS", "BPF_CFLAGS", "BPF_EXTRA_CFLAGS_PRE_INCL", "BPF_EXTRA_CFLAGS_POST_INCL",
)  # fmt: skip
# And those by which cargo and rustup are found, and find the registry.
_KEPT = frozenset({"PATH", "HOME", "TMPDIR", "CARGO_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"})
_KEPT_LIKE = re.compile(
    r"RUSTUP_.*|CARGO_(HTTP|NET|REGISTRY|REGISTRIES|SOURCE)_.*|(https?|all|no)_proxy", re.IGNORECASE
)
_ROOT = Path("/")
_BAR = re.compile(rb"Building \[[=> ]*\] (\d+)/(\d+)(?:: (.*))?")
_OTHER_BARS = re.compile(rb"Fetch \[.*|Downloading \d+ crates?.*|Building \[.*")
_NOISE = re.compile(
    r"\s*(Compiling|Downloaded|Downloading|Updating|Installing|Adding|Blocking|Locking)\b|\s*$"
    r"|warning: package `.*` in Cargo\.lock is yanked|To reuse those artifacts"
)
_UNKNOWN = re.compile(r"could not find `[^`]*` in registry|cannot install package `[^`]*`, it has been yanked")
_NETWORK = re.compile(
    r"failed to (fetch|download|query|get successful)|network|Could not resolve|Couldn't resolve|Connection refused"
    r"|timed out|SSL|unable to update registry",
    re.IGNORECASE,
)
_OFFLINE = re.compile(r"--offline|offline", re.IGNORECASE)
_OLD = re.compile(r"requires rustc|is not supported by the following package|feature `edition|newer version of Cargo")
_LIBRARIES = re.compile(
    r"unable to find library|cannot find -l|pkg-config|linker `\w+` not found|libclang"
    r"|fatal error: '?(gelf|libelf|zlib)"
)
_KILLED = re.compile(r"signal: 9, SIGKILL")
_TAIL_LINES, _TAIL_COLUMNS = 12, 200
_VERSION_TIMEOUT_S = 60


@dataclass(frozen=True)
class Cargo:
    """What builds crates here. ``versions``: what each tool says of itself; ``variables``: cargo's environment."""

    program: str
    clang: str
    versions: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...]

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """What of its environment is part of every program that it builds."""
        return (*sorted(FLAGS.items()), *(pair for pair in self.variables if pair[0] in BUILD_VARIABLES))

    def stands(self) -> bool:
        """Whether all are still those of ``versions``. Raises HostError when one is gone."""
        return _versions(self.program, self.clang, self.variables) == self.versions


def find_cargo(environ: Mapping[str, str]) -> Cargo:
    """cargo, rustc and clang on the PATH, each asked once in a process.

    Raises HostError naming the one that is missing or does not run, with what installs it.
    """
    path = environ.get("PATH", os.defpath)
    programs = {name: shutil.which(name, path=path) for name in ("cargo", "rustc")}
    for name, found in programs.items():
        if found is None:
            raise HostError(f"{name} is not installed: a scheduler declared by crate: is built with it", fix=CARGO_FIX)
    variables = tuple(sorted(kept_variables(environ).items()))
    program, clang = str(programs["cargo"]), find_clang(path)
    return Cargo(program, clang, _known_versions(program, clang, variables), variables)


def kept_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the user's variables, those that find programs and registries, and those that change what is compiled."""
    return {name: value for name, value in environ.items() if _is_kept(name)}


def _is_kept(name: str) -> bool:
    return name in _KEPT or name in BUILD_VARIABLES or _KEPT_LIKE.fullmatch(name) is not None


def _versions(cargo: str, clang: str, variables: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    environ = {**dict(variables), "LC_ALL": "C"}
    asked = [
        (name, _version([program, "--version"], environ)) for name, program in (("cargo", cargo), ("rustc", "rustc"))
    ]
    return (*asked, ("clang", clang_version(clang)))


_known_versions = lru_cache(maxsize=4)(_versions)


def _version(command: list[str], environ: Mapping[str, str]) -> str:
    program = shutil.which(command[0], path=environ.get("PATH", os.defpath)) or command[0]
    try:
        done = subprocess.run(
            [program, *command[1:]],
            env=dict(environ),
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise HostError(f"{' '.join(command)} failed: {err}", fix=CARGO_FIX) from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise HostError(f"{' '.join(command)} failed: {words[0] if words else done.returncode}", fix=CARGO_FIX)
    return done.stdout.partition("\n")[0].strip()


@dataclass(frozen=True)
class Installing:
    """One crate to install. ``where`` is what messages call its declaration.

    ``target`` holds what cargo compiled, of all crates; ``log`` its output. ``jobs`` run at once.
    """

    crate: Crate
    where: str
    target: Path
    log: Path
    cpus: tuple[int, ...]
    offline: bool
    on_progress: Callable[[Steps], None]

    @property
    def name(self) -> str:
        return f"{self.crate.name}@{self.crate.version}"


def install(cargo: Cargo, what: Installing, root: Path, cancel: Cancel) -> None:
    """Build the crate with its own lock file; its programs are in ``root/bin`` then.

    Raises InputError for a crate that does not exist or does not compile, HostError for what is missing on this
    machine, the network or the disk, each with cargo's last words; Cancelled when ``cancel`` is set, with cargo and
    all it started gone.
    """
    crate = what.crate
    command = [cargo.program, "install", "--locked", "--no-track", "--root", str(root), f"-j{max(1, len(what.cpus))}"]
    command += ["--features", ",".join(crate.features)] if crate.features else []
    command += ["--offline"] if what.offline else []
    try:
        what.log.parent.mkdir(parents=True, exist_ok=True)
        with what.log.open("wb") as log:
            status = _follow([*command, what.name], cargo, what, log, cancel)
    except OSError as err:
        raise full_or_denied(err, what.log) from err
    if status != 0:
        raise _failure(what, status)


def _environment(cargo: Cargo, target: Path) -> dict[str, str]:
    """cargo's environment. This machine's folders are kept out of the program, which lies elsewhere on another.

    Rust's flags are set in any case, so that none of a configuration's count; scx_cargo splits clang's at spaces.
    """
    variables = dict(cargo.variables)
    home = variables.get("CARGO_HOME") or f"{variables.get('HOME', '')}/.cargo"
    folders = {home: "/cargo", str(target): "/target"}
    clang = [f"-ffile-prefix-map={folder}={name}" for folder, name in folders.items() if not re.search(r"\s", folder)]
    return {
        **variables,
        **FLAGS,
        "BPF_EXTRA_CFLAGS_PRE_INCL": " ".join([*clang, variables.get("BPF_EXTRA_CFLAGS_PRE_INCL", "")]).strip(),
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(
            f"--remap-path-prefix={folder}={name}" for folder, name in folders.items()
        ),
        "CARGO_TARGET_DIR": str(target),
        "CARGO_TERM_COLOR": "never",
        "CARGO_TERM_PROGRESS_WHEN": "always",
        "CARGO_TERM_PROGRESS_WIDTH": "120",
        "BPF_CLANG": cargo.clang,
    }


def _follow(command: list[str], cargo: Cargo, what: Installing, log: IO[bytes], cancel: Cancel) -> int:
    cancel.check()
    process = start(command, _environment(cargo, what.target), subprocess.STDOUT, _ROOT)
    if what.cpus:
        os.sched_setaffinity(process.pid, what.cpus)
    rest = b""
    with closing(read(process, cancel)) as chunks:
        for data in chunks:
            *lines, rest = re.split(rb"[\r\n]+", rest + data)
            for line in lines:
                _take(line, what, log)
            rest = rest[-(1 << 16) :]
        _take(rest, what, log)
    log.flush()
    return process.wait()


def _take(line: bytes, what: Installing, log: IO[bytes]) -> None:
    """A line of cargo's output: its bar becomes progress, all else goes to the log."""
    bar = _BAR.fullmatch(line.strip())
    if bar is None:
        if line.strip() and not _OTHER_BARS.fullmatch(line.strip()):
            log.write(line.rstrip() + b"\n")
        return
    last = (bar[3] or b"").decode("utf-8", "replace")
    what.on_progress(Steps(int(bar[1]), int(bar[2]), None, last, "units"))


def _failure(what: Installing, status: int) -> KtstrError:
    """What went wrong, told by cargo's own words."""
    text = what.log.read_bytes()[-(1 << 20) :].decode("utf-8", "replace")
    full = disk_full(text)
    if full is not None:
        return full_or_denied(full, what.target)
    lines = [line for line in text.splitlines() if not _NOISE.match(line)][-_TAIL_LINES:]
    shown = "".join(f"\n  {line[:_TAIL_COLUMNS]}" for line in lines)
    crate, log = f"{what.where}: crate {what.name}", f"the whole output is in {what.log}"
    if status < 0 or _KILLED.search(text):
        return HostError(f"{crate}: cargo or a compiler was killed:{shown}", fix=f"free some memory; {log}")
    if what.offline and (_UNKNOWN.search(text) or _OFFLINE.search(text) or _NETWORK.search(text)):
        return HostError(f"{crate}: offline=1, and not all of it is here:{shown}", fix="run once without offline=1")
    if _UNKNOWN.search(text):
        return InputError(f"{crate}: found no such crate or version:{shown}", fix=f"cargo info {what.crate.name}")
    if _OLD.search(text):
        return HostError(f"{crate}: this machine's Rust is too old for it:{shown}", fix=CARGO_FIX)
    if _LIBRARIES.search("\n".join(lines)):
        return HostError(f"{crate}: does not build here:{shown}", fix=f"{LIBRARIES_FIX}; {log}")
    if _NETWORK.search("\n".join(lines)):
        return HostError(f"{crate}: cannot be fetched:{shown}", fix=f"try again; check the proxy; {log}")
    return InputError(f"{crate}: does not build:{shown}", fix=f"another version, or other features; {log}")

"""Packages of any Debian suite, through the machine's own apt configuration, without root.

A private apt root (own lists, caches and source list) names the mirror and keys that the
machine already uses, so proxies, credentials and trust are the machine's. apt checks the
Release signature and the Packages hashes; the SHA-256 of each .deb is checked again here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from ktstr.cancel import Cancel, Cancelled
from ktstr.config.suggest import nearest
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.files import full_or_denied, write_atomic
from ktstr.host.apt_sources import (
    ALIASES,
    CODENAMES,
    Source,
    debian_source,
    is_security,
    parse_deb822,
    parse_one_line,
    stanzas,
)
from ktstr.host.command import run
from ktstr.host.deb import DebPackage, verify
from ktstr.host.flock import locked

ARCH = "amd64"
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
HELPER = "/usr/lib/apt/apt-helper"
LOCK_S = 300.0
_EXPERIMENTAL = ("experimental", "rc-buggy")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_SUITE_NAME = re.compile(r"[a-z][a-z0-9-]*(/updates)?")
_URI_LINE = re.compile(r"'([^']+)' ([^_ ]+)_([^_ ]+)_([^_ ]+)\.deb (\d+) SHA256:([0-9a-f]{64})")
_CONF = """\
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::SourceList "{root}/ktstr.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "{arch}";
APT::Default-Release "{suite}";
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::ForceHash "sha256";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Gone(HostError):
    """The archive no longer has the file (404)."""


def suites_for(suite: str) -> tuple[str, ...]:
    """The suites a root for ``suite`` needs, itself first: those that are no whole distribution lean on another.

    Backports and updates build on their release, backports-sloppy on backports too, and experimental (whose codename
    is rc-buggy) on sid: it has only what is newer there (wiki.debian.org/DebianExperimental).
    """
    if suite in _EXPERIMENTAL:
        return (suite, "sid")
    if suite.endswith("-sloppy"):
        return (suite, *suites_for(suite.removesuffix("-sloppy")))
    base = re.sub(r"(-backports|-security|-updates|-proposed-updates|/updates)$", "", suite)
    return (suite,) if base == suite else (suite, base)


def _explain(what: str, output: str) -> KtstrError:
    """The error behind apt's own words."""
    lines = [line for line in output.splitlines() if line.startswith(("E:", "Err:", "W:"))]
    words = "; ".join(lines[:1]) or output.strip()[-200:] or "no output"
    if re.search(r"No space left|Write error|quota exceeded", output):
        return HostError(f"{what}: the disk is full: {words}", fix="free some space, or set KTSTR_CACHE_DIR")
    if re.search(
        r"Could not resolve|Temporary failure|Could not connect|Connection (refused|timed out|failed)", output
    ):
        return HostError(
            f"{what}: no network to the package mirror: {words}",
            fix="connect this machine, or configure apt's proxy (Acquire::http::Proxy)",
        )
    if re.search(r"is expired|not valid yet", output):
        return HostError(
            f"{what}: the archive's signature is out of date here: {words}",
            fix="set this machine's clock; for a mirror that is behind, apt's Acquire::Check-Valid-Until",
        )
    if re.search(r"404\s+Not Found|File not found", output):
        return Gone(f"{what}: the archive does not have it (any more): {words}")
    if "Hash Sum mismatch" in output:
        return HostError(f"{what}: the mirror served another file than the one pinned: {words}", fix="try again")
    if re.search(r"NO_PUBKEY|not signed|[Ss]ignature", output):
        return HostError(
            f"{what}: the signature cannot be verified: {words}", fix="apt-get install debian-archive-keyring"
        )
    return HostError(
        f"{what}: apt failed: {words}", fix="run it again with a working network, and check apt-get update"
    )


@dataclass(frozen=True)
class Apt:
    """The machine's apt, and the folder for its private roots (made when first needed).

    ``offline`` forbids the network: whatever would be fetched is a HostError that names it. ``cancel`` ends what
    runs or waits, and refuses to begin anything once it is set: every method raises Cancelled then.
    """

    root: Path
    offline: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cancel: Cancel = field(default_factory=Cancel, compare=False, repr=False)

    def sources(self) -> tuple[Source, ...]:
        """Every enabled source of the machine. Raises HostError when apt is not installed."""
        places = self._machine(
            "apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"
        )
        values = dict(word.partition("=")[::2] for word in shlex.split(places))
        folder = Path(values.get("PARTS", "/etc/apt/sources.list.d"))
        files = [Path(values.get("LIST", "/etc/apt/sources.list"))]
        files += sorted(folder.glob("*.list")) + sorted(folder.glob("*.sources"))
        found: list[Source] = []
        for file in files:
            if file.is_file() and os.access(file, os.R_OK):
                text = file.read_text(encoding="utf-8", errors="replace")
                found += parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)
        return tuple(found)

    def source(self, suite: str) -> Source:
        """Where this machine gets ``suite`` from, mirror lists followed. Raises HostError when nowhere."""
        found = debian_source(self.sources(), suite)
        if found is None:
            kind = "Debian security" if is_security(suite) else "Debian"
            raise HostError(
                f"suite {suite}: apt on this machine has no {kind} source",
                fix="add one to /etc/apt/sources.list.d: Types deb, your mirror in URIs, Suites, Components main",
            )
        uri = found.uri
        if uri.startswith("mirror+file:"):
            uri = _first_mirror(Path("/" + uri.removeprefix("mirror+file:").lstrip("/")))
        return Source(uri.rstrip("/"), found.suites, found.components, found.signed_by, found.trusted)

    def update(self, suite: str) -> None:
        """Fetch the package lists of ``suite`` into its private root, signatures checked.

        Raises InputError for a suite the archive does not have; HostError without a network,
        space, keys or when ``offline``.
        """
        if not _SUITE_NAME.fullmatch(suite):
            raise InputError(
                f"suite {suite!r}: found characters that no Debian suite has, expected a name such as forky"
            )
        if self.offline:
            raise HostError(
                f"offline=1: the package lists of {suite} would be fetched", fix="run once without offline=1"
            )
        root = self._prepare(suite)
        with locked(root / "lock", timeout_s=LOCK_S, cancel=self.cancel):
            try:
                self._run(suite, "apt-get", "update", what=f"package lists of suite {suite}")
            except Gone:
                raise _unknown_suite(suite) from None
            except HostError as err:
                if "does not have a Release file" in err.message:
                    raise _unknown_suite(suite) from None
                raise

    def resolve(self, suite: str, package: str) -> DebPackage:
        """What ``suite`` serves as ``package`` now. Raises InputError with the nearest name when unknown."""
        if not _NAME.fullmatch(package):
            raise InputError(f"package {package!r}: found characters that no Debian package name has")
        self._need_lists(suite)
        try:
            text = self._run(suite, "apt-cache", "show", "--no-all-versions", package, what=f"package {package}")
        except HostError as err:
            if "No packages found" not in err.message:
                raise
            near = nearest(package, self.names(suite, package[:6]))
            raise InputError(
                f"package {package}: suite {suite} has none of that name" + (f"; nearest is {near}" if near else "")
            ) from None
        return _from_stanza(next(stanzas(text), {}), suite)

    def names(self, suite: str, prefix: str) -> tuple[str, ...]:
        """The package names of ``suite`` that begin with ``prefix``, sorted."""
        self._need_lists(suite)
        return tuple(sorted(self._run(suite, "apt-cache", "pkgnames", prefix, what="package names").split()))

    def depends(self, suite: str, package: str) -> tuple[str, ...]:
        """The names that ``package`` depends on directly, alternatives included, in its order."""
        self._need_lists(suite)
        text = self._run(suite, "apt-cache", "show", "--no-all-versions", package, what=f"package {package}")
        value = next(stanzas(text), {}).get("depends", "")
        return tuple(part.split("(")[0].split(":")[0].strip() for part in re.split(r"[,|]", value) if part.strip())

    def closure(self, suite: str, packages: Sequence[str]) -> tuple[DebPackage, ...]:
        """The packages named and all they depend on, computed by apt as if nothing were installed."""
        self._need_lists(suite)
        text = self._run(
            suite, "apt-get", "--print-uris", "install", *packages, what=f"dependencies of {', '.join(packages)}"
        )
        bases = [(name, self.source(name).uri) for name in suites_for(suite)]
        return tuple(sorted((_from_uri(m, bases) for m in _URI_LINE.finditer(text)), key=lambda p: p.name))

    def download(self, packages: Sequence[DebPackage], folder: Path) -> dict[str, Path]:
        """Fetch packages into ``folder`` and check them: name to file.

        Needs no package lists: the hash in ``packages`` is what is trusted. Raises Gone when the
        archive dropped one, HostError for the rest.
        """
        if self.offline:
            names = ", ".join(package.filename for package in packages)
            raise HostError(f"offline=1: these would be fetched: {names}", fix="run once without offline=1")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise full_or_denied(err, folder) from err
        files = {package.name: folder / package.filename for package in packages}
        bases = {suite: self.source(suite).uri for suite in {package.suite for package in packages}}
        words = [
            word
            for package in packages
            for word in (
                f"{bases[package.suite]}/{quote(package.path, safe='/+~:@,=')}",
                str(files[package.name]),
                f"SHA256:{package.sha256}",
            )
        ]
        if words:
            named = packages[0].filename if len(packages) == 1 else f"{len(packages)} packages"
            self._run(packages[0].suite, HELPER, "download-file", *words, what=f"download of {named}")
        for package in packages:
            verify(package, files[package.name])
        return files

    def _need_lists(self, suite: str) -> None:
        lists = self._folder(suite) / "state" / "lists"
        if not any(lists.glob("*_Packages*")):
            self.update(suite)

    def _folder(self, suite: str) -> Path:
        return self.root / suite.replace("/", "_")

    def _prepare(self, suite: str) -> Path:
        """Write the private root of ``suite``: folders, configuration and source list."""
        root = self._folder(suite)
        entries = [_stanza(self.source(name), name) for name in suites_for(suite)]
        try:
            for sub in ("state/lists/partial", "cache/archives/partial"):
                (root / sub).mkdir(parents=True, exist_ok=True)
            (root / "status").touch()
        except OSError as err:
            raise full_or_denied(err, root) from err
        for name, text in (
            ("ktstr.sources", "\n".join(entries)),
            ("apt.conf", _CONF.format(root=root, arch=ARCH, suite=suite)),
        ):
            write_atomic(root / name, text.encode(), setting="KTSTR_CACHE_DIR")
        return root

    def _machine(self, *command: str) -> str:
        return self._call(command, what=command[0])

    def _run(self, suite: str, program: str, *words: str, what: str) -> str:
        root = self._folder(suite)
        if not (root / "apt.conf").is_file():
            self._prepare(suite)
        return self._call((program, "-c", str(root / "apt.conf"), *words), what=what)

    def _call(self, command: Sequence[str], what: str) -> str:
        if shutil.which(command[0], path=self.environ.get("PATH")) is None:
            raise HostError(
                f"{command[0]} is not on this machine: kernels and tools come from Debian's archive through apt",
                fix="use a Debian 12 or 13 machine or container",
            )
        environ = {**self.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        ended = run(command, environ, self.cancel)
        if ended.status:
            raise _explain(what, ended.errors + ended.output)
        return ended.output


def gone(apt: Apt, packages: Sequence[DebPackage], name: str, err: Gone) -> HostError:
    """The error for pinned files that the archive dropped: says what the suites serve now."""
    served = []
    for package in packages:
        try:
            apt.update(package.suite)
            now = apt.resolve(package.suite, package.name)
        except Cancelled:
            raise
        except KtstrError:
            continue
        if now.version != package.version:
            served.append(f"{package.name}: {package.suite} now serves {now.version}, pinned is {package.version}")
        if served:
            break
    return HostError("; ".join([err.message, *served]), fix=f"pin the new version: lock_update={name}")


def _first_mirror(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as err:
        raise HostError(f"apt's mirror list {file}: {err.strerror}", fix="mend apt's configuration") from err
    uris = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not uris:
        raise HostError(f"apt's mirror list {file}: found no address in it", fix="mend apt's configuration")
    return uris[0]


def _stanza(source: Source, suite: str) -> str:
    """Our own deb822 source: the machine's mirror and keys for ``suite``, package lists only."""
    lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {suite}", "Components: main"]
    lines += [f"Architectures: {ARCH}", "Targets: Packages"]
    if source.trusted:
        lines.append("Trusted: yes")
    if "BEGIN PGP" in source.signed_by:
        key = source.signed_by.strip().splitlines()
        lines += ["Signed-By:", *(f" {line.strip() or '.'}" for line in key)]
    else:
        paths = dict.fromkeys([*source.signed_by.split(), *(path for path in KEYRINGS if Path(path).is_file())])
        lines += [f"Signed-By: {' '.join(paths)}"] if paths else []
    return "\n".join(lines) + "\n"


def _unknown_suite(suite: str) -> InputError:
    near = nearest(suite, (*CODENAMES, *ALIASES, *(f"{name}-backports" for name in CODENAMES)))
    hint = f"; nearest is {near}" if near and near != suite else ""
    return InputError(
        f"suite {suite}: the archive has no such suite{hint}", fix="name a suite such as forky or bookworm"
    )


def _from_stanza(fields: Mapping[str, str], suite: str) -> DebPackage:
    try:
        return DebPackage(
            fields["package"],
            fields["version"],
            fields["architecture"],
            suite,
            fields["filename"].removeprefix("./"),
            int(fields["size"]),
            fields["sha256"],
        )
    except (KeyError, ValueError) as err:
        raise HostError(f"suite {suite}: a package entry lacks {err}", fix="use a complete mirror") from None


def _from_uri(match: re.Match[str], bases: Sequence[tuple[str, str]]) -> DebPackage:
    uri, name, version, arch, size, sha256 = match.groups()
    for suite, base in bases:
        if unquote(uri).startswith(unquote(base) + "/"):
            path = unquote(uri)[len(unquote(base)) + 1 :].removeprefix("./")
            return DebPackage(name, unquote(version), arch, suite, path, int(size), sha256)
    raise HostError(f"package {name}: apt names an address outside the configured mirrors: {uri}")

"""Where this machine gets Debian packages from: its apt source lists, read as text.

Formats: sources.list(5), the one-line style and deb822. Nothing here touches the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

CODENAMES = ("bullseye", "bookworm", "trixie", "forky", "duke", "sid")
ALIASES = ("oldoldstable", "oldstable", "stable", "testing", "unstable", "experimental", "rc-buggy")
_SUITE = re.compile(rf"({'|'.join(CODENAMES + ALIASES)})(-[a-z-]+|/updates)?")
_OPTION = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class Source:
    """One enabled ``deb`` source. ``signed_by`` is the field as written: paths, fingerprints or a key block."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False


def parse_one_line(text: str) -> tuple[Source, ...]:
    """Read a ``*.list`` file. Lines of another shape than ``deb [options] URI SUITE COMPONENT...`` are passed over."""
    found = []
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        option = _OPTION.search(line)
        words = _OPTION.sub(" ", line, count=1).split()
        if len(words) < 3 or words[0] != "deb":
            continue
        options = dict(part.partition("=")[::2] for part in (option.group(1).split() if option else ()))
        signed_by = options.get("signed-by", "").replace(",", " ")
        found.append(
            Source(words[1], (words[2],), tuple(words[3:]), signed_by, options.get("trusted", "").lower() == "yes")
        )
    return tuple(found)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a deb822 text; keys in lower case, continuation lines joined by newlines."""
    fields: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, key = {}, ""
        elif line[0] in " \t":
            if key:
                fields[key] += "\n" + line.strip()
        else:
            name, colon, value = line.partition(":")
            key = name.strip().lower() if colon else ""
            if key:
                fields[key] = value.strip()
    if fields:
        yield fields


def parse_deb822(text: str) -> tuple[Source, ...]:
    """Read a ``*.sources`` file; disabled stanzas and those without ``deb`` are left out."""
    found = []
    for fields in stanzas(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        suites, components = tuple(fields.get("suites", "").split()), tuple(fields.get("components", "").split())
        trusted = fields.get("trusted", "").lower() == "yes"
        found += [
            Source(uri, suites, components, fields.get("signed-by", ""), trusted)
            for uri in fields.get("uris", "").split()
            if suites
        ]
    return tuple(found)


def is_security(suite: str) -> bool:
    """Whether a suite lives in the security archive."""
    return suite.endswith(("-security", "/updates"))


def _rank(source: Source, security: bool) -> int | None:
    """How likely a source is Debian's own archive: lower is likelier, None is out of the question."""
    if source.uri.startswith("cdrom:") or "main" not in source.components:
        return None
    if not any(_SUITE.fullmatch(suite) for suite in source.suites):
        return None
    if any(is_security(suite) for suite in source.suites) != security:
        return None
    if "debian-archive" in source.signed_by:
        return 0
    path = urlsplit(source.uri).path.rstrip("/")
    return 1 if path.endswith("/debian-security" if security else "/debian") else 2


def debian_source(sources: Iterable[Source], suite: str) -> Source | None:
    """The machine's source for the archive that holds ``suite``, or None when it has none.

    Third-party repositories also name Debian suites, so sources signed by Debian's own keys
    go first, then those whose address ends like Debian's archive.
    """
    security = is_security(suite)
    ranked = [(rank, source) for source in sources if (rank := _rank(source, security)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None

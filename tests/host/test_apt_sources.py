from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ktstr.host.apt_sources import Source, debian_source, parse_deb822, parse_one_line

DEBIAN_SOURCES = """\
Types: deb deb-src
# a comment inside a stanza
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://src.example.org/debian
Suites: trixie
Components: main
"""


def test_deb822_gives_enabled_binary_sources_only() -> None:
    found = parse_deb822(DEBIAN_SOURCES)
    assert [source.uri for source in found] == [
        "http://mirror.example.org/debian",
        "http://mirror.example.org/debian-security",
    ]
    assert found[0] == Source(
        "http://mirror.example.org/debian",
        ("bookworm", "bookworm-updates"),
        ("main", "contrib"),
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    )


def test_deb822_keeps_an_embedded_key_and_takes_several_addresses() -> None:
    text = "Types: deb\nURIs: http://a/debian\n http://b/debian\nSuites: sid\nComponents: main\n"
    text += "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xyz\n"
    found = parse_deb822(text)
    assert [source.uri for source in found] == ["http://a/debian", "http://b/debian"]
    assert found[0].signed_by.splitlines()[1:] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", ".", "xyz"]


def test_one_line_sources_give_options_and_pass_over_comments_and_deb_src() -> None:
    text = (
        "# deb http://no/debian sid main\n"
        "deb [ arch=amd64 signed-by=/k/a.gpg,/k/b.gpg trusted=yes ] http://m/debian trixie main non-free # tail\n"
        "deb-src http://m/debian trixie main\n"
        "deb http://short\n"
    )
    assert parse_one_line(text) == (
        Source("http://m/debian", ("trixie",), ("main", "non-free"), "/k/a.gpg /k/b.gpg", True),
    )


def _of(*lines: str) -> tuple[Source, ...]:
    return parse_one_line("".join(f"deb {line}\n" for line in lines))


def test_a_third_party_that_names_a_debian_suite_loses_to_debian_itself() -> None:
    sources = _of("https://apt.example.com/vendor bookworm main", "http://m/debian bookworm main")
    found = debian_source(sources, "forky")
    assert found is not None and found.uri == "http://m/debian"


def test_debians_own_key_outranks_the_address() -> None:
    sources = _of(
        "http://m/debian bookworm main",
        "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://proxy/cache bookworm main",
    )
    found = debian_source(sources, "forky")
    assert found is not None and found.uri == "http://proxy/cache"


def test_security_suites_come_from_the_security_archive_and_only_they() -> None:
    sources = _of("http://m/debian-security bookworm-security main", "http://m/debian bookworm main")
    assert [s.uri if (s := debian_source(sources, name)) else None for name in ("trixie-security", "trixie")] == [
        "http://m/debian-security",
        "http://m/debian",
    ]
    assert debian_source(sources[:1], "trixie") is None


def test_ubuntu_and_cdrom_are_no_debian_source() -> None:
    assert debian_source(_of("http://u/ubuntu noble main", "cdrom:[x]/ bookworm main"), "forky") is None


@given(st.text())
def test_any_text_is_read_without_an_exception(text: str) -> None:
    assert debian_source((*parse_deb822(text), *parse_one_line(text)), "forky") is None or "main" in text

from __future__ import annotations

from ktstr.lab.environ import in_lab, passed_on


def test_what_the_command_needs_is_passed_on_and_nothing_else() -> None:
    here = {"HOME": "/h", "LC_ALL": "C", "KTSTR_CACHE_DIR": "/c", "PYTHONPATH": "/p", "TOKEN": "t", "MY_PATH": "m"}
    expected = {name: here[name] for name in ("HOME", "LC_ALL", "KTSTR_CACHE_DIR", "PYTHONPATH")}
    found = passed_on(here)
    assert {name: value for name, value in found.items() if name not in ("PATH", "KTSTR_LAB")} == expected


def test_the_hosts_path_wins_over_the_usual_one() -> None:
    assert passed_on({"PATH": "/opt/bin"})["PATH"] == "/opt/bin"
    assert "/usr/sbin" in passed_on({})["PATH"].split(":")


def test_a_command_can_tell_that_it_is_in_the_lab() -> None:
    assert in_lab(passed_on({}))
    assert not in_lab({})

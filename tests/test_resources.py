"""The files beside the package, found from a checkout; ``bootstrap/test_wheel`` finds them in a wheel."""

from __future__ import annotations

import pytest

from ktstr import resources
from ktstr.errors import HostError, InputError


def test_the_c_sources_hold_the_protocol_header_and_the_agent() -> None:
    assert (resources.c_dir() / "include/ktstr_proto.h").is_file()
    assert (resources.c_dir() / "guest/pid1/main.c").is_file()


def test_a_schema_is_found_by_its_name() -> None:
    assert resources.schema("sidecar").name == "sidecar.schema.json"
    with pytest.raises(HostError, match=r"nosuch\.schema\.json"):
        resources.schema("nosuch")


def test_a_scheduler_is_found_by_its_name_and_the_known_ones_are_named() -> None:
    assert (resources.scheduler_source("scx_ktstr") / "scx_ktstr.bpf.c").is_file()
    with pytest.raises(InputError, match="expected one of scx_ktstr"):
        resources.scheduler_source("scx_nosuch")


@pytest.mark.parametrize("name", ["..", ".", "", "scx_ktstr/.."])
def test_a_path_is_no_name(name: str) -> None:
    with pytest.raises(InputError):
        resources.scheduler_source(name)


def test_the_template_is_there_and_others_are_not() -> None:
    assert "tests:" in resources.template("ktstr.yaml").read_text()
    with pytest.raises(HostError):
        resources.template("nosuch.yaml")

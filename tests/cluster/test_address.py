"""Which cluster is meant: the nearest word wins, and none is this host."""

from __future__ import annotations

import pytest

from ktstr.cluster.address import cluster_address
from ktstr.errors import InputError

DASK = {"DASK_SCHEDULER_ADDRESS": "tcp://dask:8786"}


@pytest.mark.parametrize(
    ("given", "environ", "declared", "meant"),
    [
        (None, {}, None, None),
        (None, {}, "tcp://yaml:1", "tcp://yaml:1"),
        (None, DASK, "tcp://yaml:1", "tcp://dask:8786"),
        ("local", DASK, "tcp://yaml:1", "local"),
        ("none", DASK, "tcp://yaml:1", None),
        ("tls://big-host:8786", {}, None, "tls://big-host:8786"),
        (None, {"DASK_SCHEDULER_ADDRESS": ""}, "none", None),
    ],
)
def test_the_nearest_word_wins(
    given: str | None, environ: dict[str, str], declared: str | None, meant: str | None
) -> None:
    assert cluster_address(given, environ, declared) == meant


@pytest.mark.parametrize("text", ["big-host", "big-host:8786", "http://big-host:8786", "tcp://big-host", "Local"])
def test_what_is_no_address_is_refused_with_where_it_stands(text: str) -> None:
    for words, origin in (
        ((text, {}, None), "cluster="),
        ((None, {"DASK_SCHEDULER_ADDRESS": text}, None), "DASK_SCHEDULER_ADDRESS"),
        ((None, {}, text), "ktstr.yaml: cluster"),
    ):
        with pytest.raises(InputError, match=f"^{origin}: found '{text}', expected local, none or the address"):
            cluster_address(*words)

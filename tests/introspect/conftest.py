"""One guest for all that is read of it."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import lock as lock
from tests.e2e.conftest import slow as slow
from tests.e2e.programs import build_guests
from tests.introspect.guests import Facts, Taken, everything, facts_in


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Facts:
    """What builds and runs guests that are looked into."""
    folder = tmp_path_factory.mktemp("facts")
    (folder / "guests").mkdir()
    return facts_in(folder, build_guests(folder / "guests", lock))


@pytest.fixture(scope="session")
def taken(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """A guest of four vCPUs under scx_ktstr, as it was when it had told everything of itself."""
    return facts.take(tmp_path_factory.mktemp("taken"), everything())

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def objects_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of a run: pytest-xdist gives each a folder in that of the run."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "objects"

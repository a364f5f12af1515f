"""Whether a worker ends that is told to stop at the worst moment, by ``any_moment.c``, which tries each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ktstr.vm import agent
from tests.c.objects import C_DIR, HERE


@pytest.fixture(scope="module")
def any_moment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the agent is compiled: other instructions would be other moments."""
    out = tmp_path_factory.mktemp("moment") / "any_moment"
    sources = [str(path) for path in agent.sources(C_DIR) if path.suffix == ".c" and path.name != "main.c"]
    command = [agent.compiler(os.environ), *agent.FLAGS, *agent.include_flags(C_DIR), str(HERE / "any_moment.c")]
    subprocess.run([*command, *sources, "-o", str(out)], check=True)
    return out


@pytest.mark.parametrize("place", ["gate", "start offset", "pipe", "futex"])
def test_a_worker_ends_whichever_instruction_before_it_blocks_its_stop_comes_at(any_moment: Path, place: str) -> None:
    done = subprocess.run([str(any_moment), place], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 10 < int(done.stdout) < 1000

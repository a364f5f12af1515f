"""Types that several threads decode at once, none of which ever was: in a process of its own, which must live."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ktstr.record.codec import encode
from tests.checks.reports import heard, record, worker

TOGETHER = """
import json, sys, threading
from ktstr.record.cell import CellRecord
from ktstr.record.codec import decode

sys.setswitchinterval(1e-6)
gate, found = threading.Barrier(8), []
data = json.load(open(sys.argv[1]))


def go():
    gate.wait()
    found.append(decode(CellRecord, data))


threads = [threading.Thread(target=go) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(found), all(one == found[0] for one in found))
"""


def test_threads_that_decode_a_type_for_the_first_time_at_once_get_the_same(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps(encode(record(heard(workers=(worker(), worker(1)))))))
    command = [sys.executable, "-c", TOGETHER, str(tmp_path / "record.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "8 True\n"), done.stderr

"""``python -m benchmarks NAME...``: figures against budgets, of ``BENCHMARKS``; without names, graph and boot."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import boot, clones, cluster, explore, false_alarms, graph, introspect, setup, stats, vmm
from benchmarks.table import render

BENCHMARKS = {
    "graph": graph.rows,
    "boot": boot.rows,
    "clones": clones.rows,
    "cluster": cluster.rows,
    "explore": explore.rows,
    "setup": setup.rows,
    "vmm": vmm.rows,
    "stats": stats.rows,
    "false_alarms": false_alarms.rows,
    "introspect": introspect.rows,
}
DEFAULT = ("graph", "boot")


def main(names: Sequence[str]) -> int:
    """Run and print; 2 for an unknown name. A figure over its budget is marked, and fails nothing."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"benchmarks: found {unknown[0]!r}, expected one of {', '.join(BENCHMARKS)}\n")
        return 2
    rows = [row for name in names or DEFAULT for row in BENCHMARKS[name]()]
    sys.stdout.write(render(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

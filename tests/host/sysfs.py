"""A sysfs tree of a host, as drivers/base/{cacheinfo,node}.c print it."""

from __future__ import annotations

from pathlib import Path


def _cpus(text: str) -> list[int]:
    found: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def write_host(root: Path, llcs: list[tuple[int | None, str]], nodes: dict[int, str]) -> None:
    """CPUs with a first-level cache of their own and a shared third; remote nodes are 21 away."""
    base = root / "sys/devices/system"
    count = sum(len(_cpus(text)) for _, text in llcs)
    (base / "cpu").mkdir(parents=True)
    (base / "cpu/online").write_text(f"0-{count - 1}\n")
    for number, text in llcs:
        for cpu in _cpus(text):
            for index, level, shared in (("index0", 1, str(cpu)), ("index3", 3, text)):
                folder = base / f"cpu/cpu{cpu}/cache/{index}"
                folder.mkdir(parents=True)
                (folder / "level").write_text(f"{level}\n")
                (folder / "shared_cpu_list").write_text(f"{shared}\n")
                if number is not None:
                    (folder / "id").write_text(f"{number if level == 3 else cpu}\n")
    for node, text in nodes.items():
        folder = base / f"node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{text}\n")
        (folder / "distance").write_text(" ".join("10" if node == other else "21" for other in nodes) + "\n")
    (base / "node/online").write_text(",".join(map(str, nodes)) + "\n")

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from pandas.testing import assert_frame_equal

from ktstr.record.host import Host
from ktstr.record.machine import Origin
from ktstr.record.metrics import METRICS
from ktstr.record.sidecar import EventDeltas, Monitor, PayloadMetric, PayloadMetrics, SchedstatDeltas, Sidecar
from ktstr.results import sidecar as sidecar_file
from ktstr.results.names import CellIdentity
from ktstr.results.sidecar import build_skip, dump
from ktstr.stats import Pool, load_pool, load_run
from ktstr.stats import index as pool_index
from ktstr.stats.frames import PhaseValue, host_class, run_facts, run_metrics
from tests.results.cells import IDENTITY, document, sidecar
from tests.stats.pools import put

MONITOR = Monitor(
    total_samples=10, max_imbalance_ratio=2.5, max_local_dsq_depth=8, stuck_count=2, avg_imbalance_ratio=1.5,
    avg_nr_running=3.0, avg_local_dsq_depth=0.5, avg_irq_util=None, max_avg_irq_util=None, psi_irq_full_avg10=None,
    total_irq_pressure_us=None,
)  # fmt: skip
EVENTS = EventDeltas(
    total_fallback=15, max_fallback_burst=0, total_dispatch_offline=0, total_dispatch_keep_last=4,
    total_enq_skip_exiting=0, total_enq_skip_migration_disabled=0, total_reenq_immed=0, total_reenq_local_repeat=0,
    total_refill_slice_dfl=0, total_bypass_duration=0, total_bypass_dispatch=0, total_bypass_activate=0,
    total_insert_not_owned=0, total_sub_bypass_dispatch=0, fallback_rate=1.0, keep_last_rate=0.0,
)  # fmt: skip
SCHEDSTAT = SchedstatDeltas(
    total_run_delay=3000, total_pcount=10, total_sched_count=20, total_yld_count=0, total_sched_goidle=5,
    total_ttwu_count=8, total_ttwu_local=2, run_delay_rate=0, sched_count_rate=0, wall_sec=2.0,
)  # fmt: skip


def skip(identity: CellIdentity = IDENTITY) -> Sidecar:
    return build_skip(identity, "needs 8 CPUs", timestamp="2025-01-02T03:04:05Z", run="20250102T030405Z-1")


def metrics_of(pool: Pool, row: int = 0) -> dict[str, float]:
    of_row = pool.metrics[pool.metrics["row"] == row]
    return dict(zip(of_row["metric"], of_row["value"], strict=True))


def assert_same(one: Pool, other: Pool) -> None:
    for name in ("runs", "metrics", "phases"):
        assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.skipped == other.skipped


def test_a_pool_has_the_sidecars_of_run_directories_and_of_one_level_below_by_path(tmp_path: Path) -> None:
    for place in ("7.2-b/b", "7.2-b/icount-s1/a", "7.2-a/kvm-s2/a", "7.2-b/icount-s1/deep/c", ".cells/x/d", "e"):
        put(tmp_path, place)
    put(tmp_path, "7.2-b/.hidden/f")
    (tmp_path / "7.2-b/notes.json").write_text("{}")
    pool = load_pool(tmp_path)
    assert [str(Path(path).relative_to(tmp_path)) for path in pool.runs["path"]] == [
        "7.2-a/kvm-s2/a.ktstr.json", "7.2-b/b.ktstr.json", "7.2-b/icount-s1/a.ktstr.json",
    ]  # fmt: skip
    assert list(pool.runs["run"]) == ["7.2-a", "7.2-b", "7.2-b"]
    assert list(pool.runs.index) == [0, 1, 2] and pool.runs.index.name == "row"
    assert pool.skipped == ()
    assert len(load_run(tmp_path / "7.2-b").runs) == 2


def test_a_row_says_what_its_sidecar_says(tmp_path: Path) -> None:
    whole = sidecar(
        seed=2**64 - 1, cpu_budget=2, accel="kvm", expected_failure=False, cleanup_duration_ms=12, load_ns=None,
        kernel_label="default", kernel_commit="fff0000", origin=Origin(kind="attached", ram_digest="ab"),
        sysctls=("sysctl.b=2", "sysctl.a=1"), monitor=MONITOR,
    )  # fmt: skip
    put(tmp_path, "r/a", whole)
    row = load_pool(tmp_path).runs.iloc[0]
    expected = {
        "test_name": "steady", "topology": "1n2l2c1t", "preset": "tiny", "scheduler": "scx_ktstr", "accel": "kvm",
        "resolve_source": "auto_built", "project_commit": "abc1234", "work_type": "PipeIo", "run_source": "local",
        "kernel_version": "7.2.0-cloud", "kernel_label": "default", "kernel_commit": "fff0000", "seed": 2**64 - 1,
        "origin_kind": "attached", "ram_digest": "ab", "vcpus": 4, "cpu_budget": 2, "verdict": "pass",
        "throughput_denomination": "cpu_sec", "cleanup_duration_ms": 12, "arch": "x86_64", "sample_count": 10,
        "sysctls": "sysctl.a=1 sysctl.b=2", "kargs": "nosmt", "overcommitted": True, "performance_mode": False,
        "timestamp": whole.timestamp, "run_id": whole.run_id, "input_digest": whole.input_digest,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["host"]) == {"arch": "x86_64", "online_cpus": 2}
    assert row[["payload", "load_ns"]].isna().all()


def test_columns_have_the_types_that_their_values_need(tmp_path: Path) -> None:
    put(tmp_path, "r/a")
    put(tmp_path, "r/b", skip())
    for pool in (load_pool(tmp_path), load_pool(tmp_path / "none")):
        types = {name: str(kind) for name, kind in pool.runs.dtypes.items()}
        assert set(types) == {"path", "run", *run_facts(sidecar())} and len(types) == 38
        assert {name for name, kind in types.items() if kind == "Int64"} == {
            "vcpus", "cpu_budget", "cleanup_duration_ms", "load_ns",
        }  # fmt: skip
        assert (types["seed"], types["sample_count"], types["overcommitted"]) == ("uint64", "int64", "bool")
        assert types["test_name"] == types["payload"] == "str"
        assert list(pool.metrics.columns) == ["row", "metric", "value"] and pool.metrics["value"].dtype == "float64"
        assert list(pool.phases.columns) == [
            "row", "step_index", "label", "start_ms", "end_ms", "sample_count", "cgroup", "metric", "value",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "verdict"),
    [("passed", "pass"), ("skipped", "skip"), ("inconclusive", "inconclusive"), ("", "fail")],
)
def test_a_verdict_is_one_of_four_words(bits: str, verdict: str) -> None:
    whole = sidecar(passed=bits == "passed", skipped=bits == "skipped", inconclusive=bits == "inconclusive")
    assert run_facts(whole)["verdict"] == verdict


def test_a_skip_has_a_row_and_no_metric_and_no_cpus(tmp_path: Path) -> None:
    put(tmp_path, "r/a", skip())
    pool = load_pool(tmp_path)
    assert pool.runs["verdict"].item() == "skip" and pool.runs[["vcpus", "cpu_budget"]].isna().all(axis=None)
    assert pool.metrics.empty and pool.phases.empty and pool.wide().shape == (1, 0)


def test_fields_and_ext_metrics_are_metrics_by_their_registered_names(tmp_path: Path) -> None:
    whole = sidecar()
    put(tmp_path, "r/a", whole)
    found = metrics_of(load_pool(tmp_path))
    assert found.items() >= {name: float(value) for name, value in whole.stats.ext_metrics.items()}.items()
    assert found["total_iterations"] == whole.stats.total_iterations
    assert found["worst_gap_ms"] == whole.stats.worst_gap_ms
    assert "max_imbalance_ratio" not in found and set(found) < set(METRICS)


def test_a_monitor_gives_its_metrics_and_rates_are_made_of_them() -> None:
    monitor = replace(MONITOR, event_deltas=EVENTS, schedstat_deltas=SCHEDSTAT)
    found = run_metrics(sidecar(monitor=monitor))
    expected = {
        "max_imbalance_ratio": 2.5, "max_dsq_depth": 8, "stuck_count": 2, "avg_dsq_depth": 0.5, "total_fallback": 15,
        "total_keep_last": 4, "total_run_delay_ns_per_sched": 300, "ttwu_local_fraction": 0.25,
        "sched_goidle_fraction": 0.25, "run_delay_per_sec": 1500, "yld_count_per_sec": 0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert "avg_irq_util" not in found  # null is absent
    windowless = replace(monitor, schedstat_deltas=replace(SCHEDSTAT, wall_sec=UNSET))
    assert "run_delay_per_sec" not in run_metrics(sidecar(monitor=windowless))


def test_a_monitor_without_samples_measured_nothing() -> None:
    found = run_metrics(sidecar(monitor=replace(MONITOR, total_samples=0)))
    assert not {"max_imbalance_ratio", "max_dsq_depth", "stuck_count", "avg_nr_running"} & set(found)


def test_payload_numbers_are_metrics_and_a_field_goes_before_them() -> None:
    def number(name: str, value: float) -> PayloadMetric:
        return PayloadMetric(name=name, value=value, polarity="Unknown", unit="", source="Json", stream="Stdout")

    numbers = (number("iops", 5), number("total_iterations", 1), number("__walk_json_leaves_truncated", 65))
    found = run_metrics(sidecar(metrics=(PayloadMetrics(payload_index=0, exit_code=0, metrics=numbers),)))
    assert found["iops"] == 5 and found["total_iterations"] != 1
    assert "__walk_json_leaves_truncated" not in found


def test_phases_have_lines_for_the_whole_and_for_each_cgroup(tmp_path: Path) -> None:
    put(tmp_path, "r/a")
    phases = load_pool(tmp_path).phases
    assert set(phases["cgroup"]) == {"", "cg_0"} and set(phases["label"]) == {"Step[0]"}
    whole = phases[phases["cgroup"] == ""].set_index("metric")["value"]
    assert whole["total_phase_iterations"] == 99 and whole["total_phase_duration_sec"] == pytest.approx(1.999)
    group = phases[phases["cgroup"] == "cg_0"].set_index("metric")["value"]
    # 1,000, 2,000 and 3,000 ns
    assert (group["p99_wake_latency_us"], group["median_wake_latency_us"]) == (3, 2)
    assert group["wake_latency_cv"] == pytest.approx((2 / 3) ** 0.5 / 2)


def test_wide_has_a_line_for_each_row_and_a_column_for_each_metric(tmp_path: Path) -> None:
    put(tmp_path, "r/a", skip())
    put(tmp_path, "r/b")
    pool = load_pool(tmp_path)
    wide = pool.wide()
    assert list(wide.index) == [0, 1] and wide.loc[0].isna().all()
    assert wide.loc[1].to_dict() == metrics_of(pool, 1)


def test_an_archive_is_called_so_and_is_not_written_to(tmp_path: Path) -> None:
    put(tmp_path, "r/a")
    assert list(load_pool(tmp_path, archive=True).runs["run_source"]) == ["archive"]
    assert not (tmp_path / ".state").exists()
    assert list(load_pool(tmp_path).runs["run_source"]) == ["local"]
    assert list(load_pool(tmp_path, archive=True).runs["run_source"]) == ["archive"]


def test_under_icount_no_host_is_overcommitted() -> None:
    assert run_facts(sidecar(cpu_budget=1, vcpus=4, accel="icount"))["overcommitted"] is False
    assert run_facts(sidecar(cpu_budget=1, vcpus=4, accel="tcg"))["overcommitted"] is True
    assert run_facts(sidecar(cpu_budget=4, vcpus=4, accel="kvm"))["overcommitted"] is False


def test_hosts_of_a_class_have_the_same_cpus_and_memory_to_the_gib() -> None:
    host = Host(cpu_model="Some CPU", arch="x86_64", online_cpus=8, total_memory_kb=16_000_000)
    assert host_class(host) == host_class(replace(host, total_memory_kb=16_100_000, kernel_release="7.2"))
    others = [replace(host, cpu_model="Other"), replace(host, online_cpus=4), replace(host, total_memory_kb=8_000_000)]
    assert len({host_class(each) for each in (host, *others, Host())}) == 5


# What no pool can read


def future() -> bytes:
    return json.dumps({**document(sidecar()), "of_2030": 1}).encode()


BAD = {
    "empty": (b"", "is empty"),
    "truncated": (dump(sidecar())[:-700], "is no JSON"),
    "garbage": (b"\x00\xff[[[", "is no JSON"),
    "foreign": (b'{"name": "x"}', "unknown field"),
    "array": (b"[]", "expected an object"),
    "future": (future(), "sidecar.of_2030: unknown field"),
    "nan": (dump(sidecar()).replace(b'"vcpus": 4', b'"vcpus": NaN'), "NaN"),
    "infinity": (dump(sidecar()).replace(b'"vcpus": 4', b'"vcpus": 1e999'), "no finite number"),
    "twice": (dump(sidecar()).replace(b'"vcpus": 4', b'"vcpus": 4, "vcpus": 4'), "twice in one object"),
    "deep": (b'{"a":' * 100_000, "nested too deeply"),
    "long": (dump(sidecar()).replace(b'"vcpus": 4', b'"vcpus": ' + b"9" * 30), "expected a 64-bit integer"),
    "bits": (dump(sidecar(passed=True)).replace(b'"skipped": false', b'"skipped": true'), "at most one of"),
}


def test_what_is_no_sidecar_is_skipped_with_its_reason_and_costs_no_other(tmp_path: Path) -> None:
    for name, (data, _) in BAD.items():
        put(tmp_path, f"r/{name}", data)
    put(tmp_path, "r/good")
    pool, again = load_pool(tmp_path), load_pool(tmp_path)
    assert len(pool.runs) == 1 and len(pool.skipped) == len(BAD)
    for bad in pool.skipped:
        name = Path(bad.path).name.removesuffix(".ktstr.json")
        assert bad.kind == "invalid" and BAD[name][1] in bad.message and len(bad.message) < 500, name
        assert bad.path not in bad.message
    assert_same(pool, again)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path, "r/a", b"{")
    os.truncate(path, (64 << 20) + 1)
    put(tmp_path, "r/b")
    pool = load_pool(tmp_path)
    assert len(pool.runs) == 1 and "more than 67108864 bytes" in pool.skipped[0].message


def test_links_and_pipes_hold_nothing_up(tmp_path: Path) -> None:
    good = put(tmp_path / "elsewhere", "a")
    run = tmp_path / "root" / "r"
    run.mkdir(parents=True)
    (run / "link.ktstr.json").symlink_to(good)
    (run / "loop.ktstr.json").symlink_to("loop.ktstr.json")
    (run / "nowhere.ktstr.json").symlink_to("gone")
    (run / "up").symlink_to("..")
    (run / "self").symlink_to("self")
    (run / "folder.ktstr.json").mkdir()
    os.mkfifo(run / "pipe.ktstr.json")
    pool = load_pool(tmp_path / "root")
    assert [Path(path).name for path in pool.runs["path"]] == ["link.ktstr.json"]
    assert [(Path(bad.path).name, bad.kind) for bad in pool.skipped] == [
        ("loop.ktstr.json", "io"), ("nowhere.ktstr.json", "io"),
    ]  # fmt: skip


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder in which even root's tests meet permissions."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            for path in Path(name).rglob("*"):
                path.chmod(0o700)


def test_folders_and_files_that_may_not_be_read_are_counted(tmp_path: Path) -> None:
    with unprivileged() as root:
        put(root, "r/a")
        put(root, "r/b").chmod(0)
        put(root, "r/closed/c")
        put(root, "closed/d")
        (root / "r/closed").chmod(0)
        (root / "closed").chmod(0)
        pool = load_pool(root)
        assert len(pool.runs) == 1
        assert [(str(Path(bad.path).relative_to(root)), bad.kind) for bad in pool.skipped] == [
            ("closed", "io"), ("r/closed", "io"), ("r/b.ktstr.json", "io"),
        ]  # fmt: skip
        assert all("Permission denied" in bad.message for bad in pool.skipped)
        (root / "r/b.ktstr.json").chmod(0o600)
        assert len(load_pool(root).runs) == 2  # what the system refused is asked for again


def test_no_root_is_an_empty_pool_and_a_file_in_its_place_is_said(tmp_path: Path) -> None:
    assert load_pool(tmp_path / "none").skipped == ()
    (tmp_path / "file").write_text("")
    (bad,) = load_pool(tmp_path / "file").skipped
    assert bad.kind == "io" and "Not a directory" in bad.message


def test_a_hundred_thousand_empty_files_are_looked_at_in_seconds(tmp_path: Path) -> None:
    run = tmp_path / "r"
    run.mkdir()
    for number in range(100_000):
        os.close(os.open(run / f"{number}.ktstr.json", os.O_CREAT | os.O_WRONLY))
    begin = time.process_time()
    pool = load_run(run)
    assert len(pool.skipped) == 100_000 and pool.runs.empty
    assert time.process_time() - begin < 20


# The index


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, and not known from the index."""
    found: list[str] = []
    parse = sidecar_file.parse_sidecar

    def watched(data: bytes, where: Path | str) -> Sidecar:
        found.append(Path(where).name)
        return parse(data, where)

    monkeypatch.setattr(sidecar_file, "parse_sidecar", watched)
    return found


def test_files_that_an_index_knows_are_not_read_again(tmp_path: Path, reads: list[str]) -> None:
    put(tmp_path, "r/a")
    put(tmp_path, "r/b", b"no")
    first = load_pool(tmp_path)
    assert len(reads) == 2
    assert_same(first, load_pool(tmp_path))
    assert len(reads) == 2
    put(tmp_path, "r/c", sidecar(test_name="new"))
    put(tmp_path, "r/a", sidecar(test_name="changed"))
    assert list(load_pool(tmp_path).runs["test_name"]) == ["changed", "new"]
    assert reads[2:] == ["a.ktstr.json", "c.ktstr.json"]
    (tmp_path / "r/c.ktstr.json").unlink()
    pool = load_pool(tmp_path)
    assert list(pool.runs["test_name"]) == ["changed"] and len(reads) == 4
    assert_same(pool, load_pool(tmp_path, index=tmp_path / "other.parquet"))


def test_a_file_of_this_very_moment_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    path = put(tmp_path, "r/a")
    os.utime(path)
    load_pool(tmp_path)
    load_pool(tmp_path)
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["garbage", "truncated", "flipped", "foreign", "folder", "empty", "other code"])
def test_an_index_that_is_not_ours_is_made_anew(
    tmp_path: Path, damage: str, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "r/a")
    put(tmp_path, "r/b", skip())
    first = load_pool(tmp_path)
    place = tmp_path / ".state/pool.parquet"
    data = place.read_bytes()
    if damage == "folder":
        place.unlink()
        place.mkdir()
    elif damage == "foreign":
        pd.DataFrame({"x": [1]}).to_parquet(place)
    elif damage == "other code":
        monkeypatch.setattr(pool_index, "version", lambda: "of another release")
    else:
        middle = len(data) // 2
        flipped = data[: middle // 2] + bytes(255 - byte for byte in data[middle // 2 : middle]) + data[middle:]
        changed = {"garbage": b"\x00" * 4096, "truncated": data[:-9], "empty": b"", "flipped": flipped}
        place.write_bytes(changed[damage])
    assert_same(first, load_pool(tmp_path))
    assert len(reads) == 4
    assert_same(first, load_pool(tmp_path))
    assert len(reads) == (6 if damage == "folder" else 4)


def test_where_no_index_can_be_written_there_is_none(tmp_path: Path, reads: list[str]) -> None:
    put(tmp_path, "r/a")
    (tmp_path / ".state").write_text("in the way")
    assert_same(load_pool(tmp_path), load_pool(tmp_path))
    assert len(reads) == 2 and (tmp_path / ".state").read_text() == "in the way"


def test_the_digest_of_an_index_is_of_records_registry_and_frames() -> None:
    assert len(pool_index.version()) == 64
    assert set(pool_index.FACTS) == set(run_facts(sidecar()))
    assert [field.name for field in pool_index.PHASE] == list(PhaseValue.__struct_fields__)


def test_processes_that_load_at_once_all_have_the_whole_pool(tmp_path: Path) -> None:
    for number in range(40):
        put(tmp_path, f"r/{number:02}", sidecar(seed=number))
    code = (
        "import sys; from ktstr.stats import load_pool\n"
        "for _ in range(20):\n"
        "    pool = load_pool(sys.argv[1]); assert list(pool.runs['seed']) == list(range(40)), pool\n"
        "    if _ % 3 == 0: (__import__('pathlib').Path(sys.argv[1]) / '.state/pool.parquet').unlink(missing_ok=True)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert [path.name for path in (tmp_path / ".state").iterdir()] in ([], ["pool.parquet"])


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    code = "import sys, ktstr.stats; assert not {'pandas', 'pyarrow'} & set(sys.modules); ktstr.stats.load_pool"
    subprocess.run([sys.executable, "-c", code], check=True)

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.record.guest import (
    SILENT,
    Checkpoint,
    DrawnDelay,
    FileRead,
    GuestCpu,
    GuestNode,
    GuestRecord,
    Migration,
    OpError,
    PayloadEvent,
    PayloadLog,
    Progress,
    Refusal,
    SchedEvent,
    Stimulus,
    VcpuReport,
    WorkerReport,
)
from ktstr.vm import op_messages
from ktstr.vm.messages import decode_channel, read_channel
from ktstr.vm.protocol import lib
from tests.vm import frames as f

GOOD = [
    f.hello(),
    f.cpu(0, (0, 1), (0,)),
    f.cpu(511, (511,), (510, 511)),
    f.distances(0, 10, 20),
    f.distances(1, 20, 10),
    f.event(5, 3, 0, b"ktstr"),
    (f.SCHED_LOG, b"attached \xff\n"),
    (f.SCHED_LOG, b"more\n"),
    (f.SCHED_KMSG, b"sched_ext: on\n"),
    (f.SCHED_DUMP, b"sched_ext_dump: CPU states\n"),
    (f.SCHED_PRINTK, b"printed\n"),
    f.refusal(text=b"R1 invalid\n"),
    f.begin(1 << 40),
    f.stimulus(8, 6, 1234, b"1000 ns"),
    f.worker(2, migrations=3, samples=4, requests=2),
    f.migrations(2, (1, 0, 3), (2, 3, 0)),
    f.migrations(2, (3, 0, 511)),
    f.samples(2, 9, 8),
    f.samples(2, 6, series=1),
    f.samples(2, 7, 2**64 - 1),
    f.samples(2, 5, series=1),
    f.pages(2, 17, 0, 2**64 - 1, migrated=5),
    f.vcpu(0),
    f.error("kaputt: ü".encode()),
    f.error(b"of an op", op=8191),
    f.error(b"no such file", op=8, recorded=1),
    f.checkpoint(f.progress(4095, 6), f.progress(1)),
    f.checkpoint(f.progress(2)),
    f.checkpoint(phase=5),
    f.read(b"0-3", size=4096),
    f.payload_event(8, 63, 2, -2),
    f.payload_log(1, b"one \xff"),
    f.payload_log(0, b"zero"),
    f.payload_log(1, b"more"),
    f.payload_log(1, b"err", 2),
    f.delays((9, 77), (8191, 0), seen=3),
    f.end(99),
]


def progress(worker: int, spawn: int = 0) -> Progress:
    return Progress(
        worker=worker, spawn=spawn, iterations=201, work_units=202, cpu_time_ns=203, migrations=204, wakes=205,
        max_gap_ns=206,
    )  # fmt: skip


def test_every_message_lands_in_its_field() -> None:
    record, error = decode_channel(f.stream(GOOD))
    assert error is None
    worker = WorkerReport(
        index=2, work_index=5, cgroup=-1, tid=77, work_units=101, iterations=102, cpu_time_ns=103, wall_time_ns=104,
        migration_count=105, migrations=(Migration(1, 0, 3), Migration(2, 3, 0), Migration(3, 0, 511)),
        cpus_used=(0, 3, 511), max_gap_ns=106, max_gap_cpu=3, max_gap_at_ns=107, max_gap_off_cpu_ns=108,
        max_stall_ns=109, max_stall_cpu=4, wake_latencies_ns=(9, 8, 7, 2**64 - 1), wake_sample_total=110,
        open_wait_ns=111, measuring_calls=112, schedstat_cpu_time_ns=113, schedstat_run_delay_ns=114,
        schedstat_run_count=115, completed=True, exit_info=None, spawn=0, numa_pages=(17, 0, 2**64 - 1),
        numa_pages_migrated=5, counted=tuple(range(301, 309)), request_sample_total=309, request_latencies_ns=(6, 5),
        place=6,
    )  # fmt: skip
    assert record == GuestRecord(
        kernel_release="6.14.0",
        cpus=(GuestCpu(0, 1, 2, (0, 1), (0,)), GuestCpu(511, 1, 2, (511,), (510, 511))),
        node_distances=((10, 20), (20, 10)),
        sched_events=(SchedEvent(5, "attached", 0, "ktstr"),),
        sched_log="attached \ufffd\nmore\n",
        sched_kmsg="sched_ext: on\n",
        sched_dump="sched_ext_dump: CPU states\n",
        sched_printk="printed\n",
        begin_tsc=1 << 40,
        refusal=Refusal(
            at_ns=7,
            outcome="refused",
            command="BPF_PROG_LOAD",
            name="dispatch",
            error=13,
            calls=41,
            alike=True,
            text="R1 invalid\n",
        ),
        workers=(worker,),
        vcpus=(VcpuReport(0, 11, 12, 13),),
        stimuli=(Stimulus(8, "Hold", "1000 ns", 1234, 3, 2, 0),),
        errors=("kaputt: ü", "of an op"),
        op_errors=(OpError(8, "no such file"),),
        checkpoints=(
            Checkpoint(7, 4, 3, (progress(4095, 6), progress(1), progress(2))),
            Checkpoint(7, 5, 3, ()),
        ),
        reads=(FileRead(7, 3, 4096, "0-3"),),
        payload_events=(PayloadEvent(8, 63, "spawn_failed", -2),),
        payload_logs=(
            PayloadLog(0, "zero", "stdout"),
            PayloadLog(1, "one \ufffdmore", "stdout"),
            PayloadLog(1, "err", "stderr"),
        ),
        delays=(DrawnDelay(9, 77), DrawnDelay(8191, 0)),
        delays_drawn=3,
        ended=True,
        deadline_hit=False,
        end_ns=99,
    )


def test_nothing_at_all_is_an_empty_record_without_error() -> None:
    assert decode_channel(b"") == (SILENT, None)


def test_what_was_not_measured_is_none() -> None:
    record, error = decode_channel(f.stream([f.worker(schedstat=0)]))
    assert error is None
    report = record.workers[0]
    assert report.schedstat_cpu_time_ns is None
    assert report.schedstat_run_delay_ns is None
    assert report.schedstat_run_count is None


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        (1, 3, "Exited(3)"),
        (2, 9, "Signaled(9)"),
        (3, 0, "TimedOut"),
        (4, 10, "WaitFailed(ECHILD)"),
        (4, -1, "WaitFailed(-1)"),
    ],
)
def test_exit_info_of_a_worker_that_wrote_no_end(kind: int, code: int, text: str) -> None:
    record, error = decode_channel(f.stream([f.worker(completed=0, exit_kind=kind, exit_code=code)]))
    assert error is None
    assert record.workers[0].exit_info == text
    assert not record.workers[0].completed


def test_deadline_is_told_apart_from_other_ends() -> None:
    assert decode_channel(f.stream([f.end(5, 3)]))[0].deadline_hit
    for status in (0, 1, 2):
        record, _ = decode_channel(f.stream([f.end(5, status)]))
        assert record.ended and not record.deadline_hit


def test_a_kernel_that_counts_no_migrated_pages_leaves_them_unmeasured() -> None:
    record, error = decode_channel(f.stream([f.worker(1), f.pages(1, 4, migrated=2**64 - 1), f.end()]))
    assert error is None
    assert (record.workers[0].numa_pages, record.workers[0].numa_pages_migrated) == ((4,), None)


def test_the_guard_may_end_for_an_agent_that_hangs_amid_a_report() -> None:
    record, error = decode_channel(f.stream([f.worker(1, samples=2), f.samples(1, 5), f.end(5, 3)]))
    assert error is None and record.deadline_hit
    assert record.workers[0].wake_latencies_ns == (5,)


def test_nodes_and_lists_of_cpus() -> None:
    frames = [f.cpu_lists((0, 1, 5), (0, 1)), f.node(2, 65408, 1), f.node(0, 4096)]
    record, error = decode_channel(f.stream(frames))
    assert error is None or error.startswith("channel ended")
    assert (record.possible_cpus, record.present_cpus) == ((0, 1, 5), (0, 1))
    assert record.nodes == (GuestNode(0, 4096, ()), GuestNode(2, 65408, (1,)))
    silent, _ = decode_channel(f.stream([f.cpu_lists((), ())]))
    assert (silent.possible_cpus, silent.present_cpus, silent.nodes) == (None, None, None)


BROKEN = {
    "samples of no series": ([f.worker(1, samples=2), f.samples(1, 5, series=2)], "announced fewer of series 2"),
    "too many requests": ([f.worker(1, samples=2, requests=1), f.samples(1, 5, 6, series=1)], "fewer of series 1"),
    "version": ([f.hello(version=1)], "Hello of protocol version 1, expected 4,"),
    "second hello": ([f.hello(), f.hello()], "second Hello"),
    "cpu number": ([f.cpu(512)], "CPU number 512"),
    "cpu twice": ([f.cpu(1), f.cpu(1)], "second Cpu message"),
    "vcpu twice": ([f.vcpu(1), f.vcpu(1)], "second Vcpu message"),
    "node": ([f.distances(64, 10)], "node 64"),
    "node number": ([f.node(64, 4)], "Node message for node 64"),
    "node twice": ([f.node(1, 4), f.node(1, 4)], "Node message for node 1"),
    "node short": ([(f.NODE, bytes(23))], "struct ktstr_msg_node of 23 bytes"),
    "lists short": ([(f.CPU_LISTS, bytes(64))], "struct ktstr_msg_cpu_lists of 64 bytes"),
    "distances count": ([(f.DISTANCES, struct.pack("<II64I", 0, 65, *([0] * 64)))], "65 entries"),
    "event kind": ([f.event(0, 10, 0)], "unknown kind 10"),
    "event text": ([f.event(0, 1, 0, b"x" * 4097)], "text of 4097 bytes"),
    "event short": ([(f.SCHED_EVENT, b"123")], "struct ktstr_msg_sched_event of 3 bytes"),
    "refusal short": ([(f.SCHED_REFUSAL, bytes(47))], "struct ktstr_msg_sched_refusal of 47 bytes"),
    "refusal outcome": ([f.refusal(0)], "unknown outcome 0"),
    "refusal outcome above": ([f.refusal(6)], "unknown outcome 6"),
    "refusal of no command": ([f.refusal(1, 2**32 - 1)], "outcome 1 with command 4294967295"),
    "refusal of another command": ([f.refusal(1, 1)], "outcome 1 with command 1"),
    "command of no refusal": ([f.refusal(2, 5)], "outcome 2 with command 5"),
    "refusal error": ([f.refusal(error=4096)], "error 4096 and alike 1"),
    "refusal error below": ([f.refusal(error=-1)], "error -1 and alike 1"),
    "refusal alike": ([f.refusal(alike=2)], "error 13 and alike 2"),
    "refusal text": ([f.refusal(text=b"x" * 4097)], "text of 4097 bytes"),
    "refusal twice": ([f.refusal(), f.refusal()], "second SchedRefusal"),
    "begin short": ([(f.BEGIN, bytes(7))], "struct ktstr_msg_begin of 7 bytes, expected 8,"),
    "begin long": ([(f.BEGIN, bytes(9))], "struct ktstr_msg_begin of 9 bytes, expected 8,"),
    "begin twice": ([f.begin(1), f.begin(1)], "second Begin message"),
    "op": ([f.stimulus(0, 0, 0)], "unknown op 0"),
    "op above": ([f.stimulus(0, 24, 0)], "unknown op 24"),
    "op place": ([f.stimulus(0, 6, 0, op=8192)], "op 8192, expected 0 to 8191,"),
    "op scope": ([f.stimulus(0, 6, 0, scope=8193)], "scope 8193, expected 0 to 8192,"),
    "op text": ([f.stimulus(0, 6, 0, b"x" * 4097)], "text of 4097 bytes"),
    "op short": ([(f.STIMULUS, bytes(31))], "struct ktstr_msg_stimulus of 31 bytes, expected 32,"),
    "error short": ([(f.ERROR, b"kaputt")], "struct ktstr_msg_error of 6 bytes, expected 8,"),
    "error text": ([f.error(b"x" * 4097)], "text of 4097 bytes"),
    "error op": ([f.error(op=8192)], "op 8192, expected 0 to 8191,"),
    "error op below": ([f.error(op=-2)], "op -2, expected 0 to 8191,"),
    "error flag": ([f.error(op=1, recorded=2)], "flag of an error 2, expected 0 to 1,"),
    "recorded error of nobody": ([f.error(recorded=1)], "recorded error of no op"),
    "checkpoint short": ([(f.CHECKPOINT, bytes(23))], "struct ktstr_msg_checkpoint of 23 bytes, expected 24,"),
    "checkpoint fewer": ([f.checkpoint(f.progress(), count=2)], "56 bytes for 2 items"),
    "checkpoint more": ([f.checkpoint(f.progress(), count=0)], "56 bytes for 0 items"),
    "checkpoint op": ([f.checkpoint(f.progress(), op=8192)], "op 8192, expected 0 to 8191,"),
    "checkpoint worker": ([f.checkpoint(f.progress(4096))], "worker 4096, expected 0 to 4095,"),
    "read short": ([(f.READ, bytes(15))], "struct ktstr_msg_read of 15 bytes, expected 16,"),
    "read op": ([f.read(op=8192)], "op 8192, expected 0 to 8191,"),
    "read text": ([f.read(b"x" * 4097)], "text of 4097 bytes"),
    "read more than there is": ([f.read(b"xyz", size=2)], "3 bytes of a file of 2"),
    "payload event short": ([(f.PAYLOAD_EVENT, bytes(23))], "struct ktstr_msg_payload_event of 23 bytes"),
    "payload event long": ([(f.PAYLOAD_EVENT, bytes(25))], "struct ktstr_msg_payload_event of 25 bytes"),
    "payload event of": ([f.payload_event(payload=64)], "payload 64, expected 0 to 63,"),
    "payload event kind": ([f.payload_event(kind=0)], "payload event of unknown kind 0"),
    "payload event kind above": ([f.payload_event(kind=7)], "payload event of unknown kind 7"),
    "payload log short": ([(f.PAYLOAD_LOG, bytes(7))], "struct ktstr_msg_payload_log of 7 bytes, expected 8,"),
    "payload log stream": ([f.payload_log(1, b"", 3)], "what payload 1 wrote to unknown stream 3"),
    "payload log of": ([f.payload_log(64)], "payload 64, expected 0 to 63,"),
    "no delays": ([f.delays()], "0 bytes for 0 items"),
    "delays fewer": ([f.delays((0, 0), count=2)], "16 bytes for 2 items"),
    "delays op": ([f.delays((8192, 0))], "op 8192, expected 0 to 8191,"),
    "delays seen": ([f.delays((0, 0), (0, 0), seen=1)], "2 delays of 1 that were drawn"),
    "delays many": ([f.delays(*[(0, 0)] * 4001)], "4001 delays of 4001 that were drawn, expected at most 4000,"),
    "delays twice": ([f.delays((0, 0)), f.delays((0, 0))], "second Delays message"),
    "worker index": ([f.worker(4096)], "worker 4096, expected 0 to 4095,"),
    "worker twice": ([f.worker(1, spawn=2), f.worker(1, spawn=2)], "second report of worker 1, spawned 2 times"),
    "worker work": ([f.worker(work=4096)], "work 4096, expected 0 to 4095,"),
    "worker cgroup": ([f.worker(cgroup=256)], "cgroup 256, expected 0 to 255,"),
    "worker cgroup below": ([f.worker(cgroup=-2)], "cgroup -2, expected 0 to 255,"),
    "worker samples": ([f.worker(1, samples=100001)], "100001 samples"),
    "worker migrations": ([f.worker(1, migrations=4097)], "4097 migrations"),
    "worker cpu": ([f.worker(1, gap_cpu=512)], "CPU number 512"),
    "worker stall cpu": ([f.worker(1, stall_cpu=512)], "CPU number 512"),
    "samples of an earlier report": (
        [f.worker(1, samples=1), f.worker(1, spawn=1), f.samples(1, 5)],
        "1 samples of worker 1",
    ),
    "worker exit": ([f.worker(1, exit_kind=5)], "unknown kind 5"),
    "samples unannounced": ([f.worker(1, samples=1), f.samples(1, 5, 6)], "2 samples of worker 1"),
    "samples of nobody": ([f.samples(1, 5)], "worker 1"),
    "samples too short": (
        [f.worker(1, samples=2), (f.SAMPLES, struct.pack("<IIIIQ", 1, 0, 2, 0, 5))],
        "8 bytes for 2",
    ),
    "no samples": ([f.worker(1), (f.SAMPLES, struct.pack("<IIII", 1, 0, 0, 0))], "0 bytes for 0 items"),
    "pages of nobody": ([f.pages(1, 5)], "pages of worker 1, expected once after its report"),
    "pages twice": ([f.worker(1), f.pages(1, 5), f.pages(1, 5)], "pages of worker 1, expected once after its report"),
    "pages of no node": ([f.worker(1), f.pages(1)], "0 bytes for 0 items"),
    "pages of many nodes": ([f.worker(1), f.pages(1, *[1] * 65)], "pages of 65 nodes, expected at most 64"),
    "pages too short": ([f.worker(1), f.pages(1, 5, count=2)], "8 bytes for 2"),
    "migration cpu": ([f.worker(1, migrations=1), f.migrations(1, (0, 0, 600))], "CPU number 600"),
    "end status": ([f.end(0, 4)], "unknown status 4"),
    "after end": ([f.end(), f.hello()], "after the End"),
    "samples due": ([f.worker(1, samples=2), f.samples(1, 5), f.end()], "before all that worker 1 announced"),
    "migrations due": ([f.worker(1, migrations=1), f.end()], "before all that worker 1 announced"),
    "type": ([(99, b"")], "unknown type 99"),
    "ready payload": ([f.ready(b"x")], "Ready message with 1 bytes of payload"),
}


def test_an_agent_that_waits_says_so_once_and_changes_nothing_else() -> None:
    plain = [f.hello(), f.cpu(0), f.distances(0, 10), f.stimulus(8, 6, 1234), f.worker(2), f.end(99)]
    record, error = decode_channel(f.stream([*plain[:3], f.ready(), *plain[3:]]))
    assert error is None and record.ended
    assert record == decode_channel(f.stream(plain))[0]


@pytest.mark.parametrize(
    "before",
    [
        [],
        [f.hello(), f.ready()],
        [f.hello(), f.error(b"no cgroups")],
        [f.hello(), f.unparked(b"no")],
        [f.hello(), f.stimulus(0, 6, 0)],
        [f.hello(), f.worker(2)],
    ],
    ids=["nobody", "twice", "after an error", "after it refused", "after an op", "after a worker"],
)
def test_ready_is_refused_where_no_agent_waits(before: list[tuple[int, bytes]]) -> None:
    record, error = decode_channel(f.stream([*before, f.ready()]))
    assert record == decode_channel(f.stream(before))[0]
    assert error == f"Ready message where no agent waits for its program at {len(f.stream(before))}"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_ends_the_decoding_with_its_reason(name: str) -> None:
    messages, reason = BROKEN[name]
    first = f.error(b"before")
    record, error = decode_channel(f.stream([first, *messages, f.error(b"after")]))
    assert record.errors == ("before",)
    assert error is not None and reason in error
    offset = len(f.stream([first, *messages[:-1]]))
    assert error.endswith(f" at {offset}")


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (f.error(b"x"), 256),
        (f.error(b"x", op=1, recorded=1), 256),
        (f.event(0, 1, 0), 256),
        *(((log, b"x" * 65536), 4) for log in (f.SCHED_LOG, f.SCHED_KMSG, f.SCHED_PRINTK, f.SCHED_DUMP)),
        (f.payload_log(3, b"x" * 32768), 8),
        (f.stimulus(0, 6, 0), 8192),
        (f.read(), 1024),
        (f.payload_event(), 1024),
    ],
)
def test_more_of_a_kind_than_the_protocol_allows_is_a_flood(message: tuple[int, bytes], limit: int) -> None:
    assert read_channel(f.stream([message] * limit))[1] is None
    _, error = read_channel(f.stream([message] * (limit + 1)))
    assert error is not None and error.kind == "flood"


def test_each_payload_has_a_log_of_its_own() -> None:
    messages = [f.payload_log(payload, b"x" * 32768) for payload in range(64) for _ in range(8)]
    record, error = read_channel(f.stream(messages))
    assert error is None and record.payload_logs is not None
    assert [len(log.text) for log in record.payload_logs] == [262144] * 64


def test_more_checkpoints_than_the_protocol_allows_are_a_flood() -> None:
    messages = [f.checkpoint(phase=phase) for phase in range(1025)]
    record, error = read_channel(f.stream(messages[:-1]))
    assert error is None and record.checkpoints is not None and len(record.checkpoints) == 1024
    assert read_channel(f.stream([*messages[:-1], f.checkpoint(phase=1023)]))[1] is None, "it goes on"
    _, error = read_channel(f.stream(messages))
    assert error is not None and (error.kind, error.reason) == ("flood", "more than 1024 checkpoints")


def test_more_workers_of_checkpoints_than_the_protocol_allows_are_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lib.KTSTR_MAX_PROGRESS_TOTAL == 1048576
    few = SimpleNamespace(**{name: getattr(lib, name) for name in dir(lib)})
    few.KTSTR_MAX_PROGRESS_TOTAL = 5
    monkeypatch.setattr(op_messages, "lib", few)
    messages = [f.checkpoint(f.progress(0), f.progress(1), f.progress(2)), f.checkpoint(f.progress(3), f.progress(4))]
    assert read_channel(f.stream(messages))[1] is None
    _, error = read_channel(f.stream([*messages, f.checkpoint(f.progress(5), phase=9)]))
    assert error is not None and (error.kind, error.reason) == ("flood", "more than 5 workers of checkpoints")


def test_more_reports_than_the_protocol_allows_are_a_flood() -> None:
    messages = [f.worker(i % 4096, spawn=i // 4096) for i in range(16385)]
    record, error = read_channel(f.stream(messages[:-1]))
    assert error is None and len(record.workers) == 16384
    _, error = read_channel(f.stream(messages))
    assert error is not None and (error.kind, error.reason) == ("flood", "more than 16384 worker reports")


def test_a_worker_that_is_spawned_again_reports_again_and_its_samples_are_the_latest_ones() -> None:
    messages = [
        f.worker(1, spawn=7, samples=1, migrations=1), f.samples(1, 5), f.migrations(1, (1, 2, 3)),
        f.worker(0), f.worker(1, spawn=0, samples=2), f.samples(1, 6, 7), f.end(),
    ]  # fmt: skip
    record, error = decode_channel(f.stream(messages))
    assert error is None
    found = [(report.index, report.spawn, report.wake_latencies_ns) for report in record.workers]
    assert found == [(0, 0, ()), (1, 0, (6, 7)), (1, 7, (5,))]
    assert record.workers[2].migrations == (Migration(1, 2, 3),)


def test_what_did_not_come_is_none() -> None:
    record, error = decode_channel(f.stream([f.hello(), f.stimulus(0, 6, 0), f.worker(), f.end()]))
    assert error is None
    later = ("op_errors", "checkpoints", "reads", "payload_events", "payload_logs", "delays", "delays_drawn")
    assert [getattr(record, name) for name in later] == [None] * len(later)


def test_truncated_channel_keeps_what_is_whole() -> None:
    data = f.stream([f.hello(), f.cpu(0)])
    record, error = read_channel(data[:-1])
    assert record.kernel_release == "6.14.0" and record.cpus == ()
    assert error is not None and error.kind == "truncated" and error.offset == len(f.stream([f.hello()]))


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(data: bytes) -> None:
    assert decode_channel(data)[0] == SILENT


@given(st.lists(st.tuples(st.integers(0, f.SCHED_DUMP + 1), st.binary(max_size=260)), max_size=6))
def test_random_payloads_in_good_frames_never_raise(messages: list[tuple[int, bytes]]) -> None:
    record, _ = decode_channel(f.stream(messages))
    assert isinstance(record, GuestRecord)


@given(st.integers(0, len(GOOD) - 1), st.data())
def test_damaged_messages_in_good_frames_never_raise(which: int, data: st.DataObject) -> None:
    type_, payload = GOOD[which]
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    messages = [*GOOD[:which], (type_, bytes(damaged[:cut])), *GOOD[which + 1 :]]
    record, _ = decode_channel(f.stream(messages))
    assert record.kernel_release is None or len(record.kernel_release) <= 72


@given(st.data())
def test_flipped_bits_are_noticed(data: st.DataObject) -> None:
    whole = bytearray(f.stream(GOOD))
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[at // 8] ^= 1 << at % 8
    record, error = decode_channel(bytes(whole))
    assert error is not None
    assert not record.ended


U32, I32 = st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1)


@given(
    st.integers(0, 6) | U32,
    st.sampled_from([0, 2, 5, 18, 28, 2**32 - 1]) | st.integers(0, 40) | U32,
    st.integers(-1, 4096) | I32,
    st.integers(0, 2) | U32,
    st.binary(max_size=16),
    st.binary(max_size=40) | st.integers(4090, 4100).map(bytes),
)
def test_a_refusal_is_what_it_says_or_is_refused(
    outcome: int, command: int, error: int, alike: int, name: bytes, text: bytes
) -> None:
    """By the protocol's description: a command of those that end a loader where something was refused, else none."""
    named = command in (0, 2, 5, 18, 28) if outcome == 1 else command == 2**32 - 1
    good = 1 <= outcome <= 5 and named and 0 <= error <= 4095 and alike <= 1 and len(text) <= 4096
    message = f.refusal(outcome, command, error=error, alike=alike, name=name, text=text)
    record, told = decode_channel(f.stream([f.hello(), message]))
    assert (told is None, record.refusal is not None) == (good, good)
    if record.refusal is not None:
        found = record.refusal
        assert (found.at_ns, found.error, found.calls, found.alike) == (7, error, 41, bool(alike))
        assert (found.command is None) == (outcome != 1)
        assert found.name == name.split(b"\0")[0].decode(errors="replace")
        assert found.text == text.decode(errors="replace")


@given(st.lists(st.sampled_from([f.SCHED_LOG, f.SCHED_KMSG, f.SCHED_PRINTK, f.SCHED_DUMP]), max_size=12), st.data())
def test_pieces_of_logs_are_put_together_each_by_itself(kinds: list[int], data: st.DataObject) -> None:
    """However they come between each other, and wherever a character is cut in two."""
    pieces = [(kind, data.draw(st.text("aü\n\0\x1b", max_size=9)).encode()) for kind in kinds]
    cut = [(kind, part) for kind, piece in pieces for part in (piece[: len(piece) // 2], piece[len(piece) // 2 :])]
    record, error = decode_channel(f.stream([f.hello(), *cut]))
    assert error is None
    whole = {kind: b"".join(piece for other, piece in pieces if other == kind).decode() for kind in set(kinds)}
    assert record.sched_log == whole.get(f.SCHED_LOG, "")
    assert record.sched_kmsg == whole.get(f.SCHED_KMSG, "")
    assert (record.sched_printk or "") == whole.get(f.SCHED_PRINTK, "")
    assert (record.sched_dump or "") == whole.get(f.SCHED_DUMP, "")


@given(st.binary(max_size=20))
def test_a_begin_has_eight_bytes_and_no_others(payload: bytes) -> None:
    record, error = decode_channel(f.stream([f.hello(), (f.BEGIN, payload)]))
    assert (record.begin_tsc, error is None) == (
        (int.from_bytes(payload, "little"), True) if len(payload) == 8 else (None, False)
    )

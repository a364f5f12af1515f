from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.record.guest import SILENT, GuestCpu, GuestRecord, Migration, SchedEvent, Stimulus, VcpuReport, WorkerReport
from ktstr.vm.messages import decode_channel, read_channel
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
    f.stimulus(8, 6, 1234, b"1000 ns"),
    f.worker(2, migrations=3, samples=4),
    f.migrations(2, (1, 0, 3), (2, 3, 0)),
    f.migrations(2, (3, 0, 511)),
    f.samples(2, 9, 8),
    f.samples(2, 7, 2**64 - 1),
    f.vcpu(0),
    (f.ERROR, "kaputt: ü".encode()),
    f.end(99),
]


def test_every_message_lands_in_its_field() -> None:
    record, error = decode_channel(f.stream(GOOD))
    assert error is None
    worker = WorkerReport(
        index=2, work_index=5, cgroup=-1, tid=77, work_units=101, iterations=102, cpu_time_ns=103, wall_time_ns=104,
        migration_count=105, migrations=(Migration(1, 0, 3), Migration(2, 3, 0), Migration(3, 0, 511)),
        cpus_used=(0, 3, 511), max_gap_ns=106, max_gap_cpu=3, max_gap_at_ns=107, max_gap_off_cpu_ns=108,
        max_stall_ns=109, max_stall_cpu=4, wake_latencies_ns=(9, 8, 7, 2**64 - 1), wake_sample_total=110,
        schedstat_cpu_time_ns=111, schedstat_run_delay_ns=112, schedstat_run_count=113, completed=True, exit_info=None,
    )  # fmt: skip
    assert record == GuestRecord(
        kernel_release="6.14.0",
        cpus=(GuestCpu(0, 1, 2, (0, 1), (0,)), GuestCpu(511, 1, 2, (511,), (510, 511))),
        node_distances=((10, 20), (20, 10)),
        sched_events=(SchedEvent(5, "attached", 0, "ktstr"),),
        sched_log="attached \ufffd\nmore\n",
        sched_kmsg="sched_ext: on\n",
        workers=(worker,),
        vcpus=(VcpuReport(0, 11, 12, 13),),
        stimuli=(Stimulus(8, "Hold", "1000 ns", 1234),),
        errors=("kaputt: ü",),
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


def test_the_guard_may_end_for_an_agent_that_hangs_amid_a_report() -> None:
    record, error = decode_channel(f.stream([f.worker(1, samples=2), f.samples(1, 5), f.end(5, 3)]))
    assert error is None and record.deadline_hit
    assert record.workers[0].wake_latencies_ns == (5,)


BROKEN = {
    "version": ([f.hello(version=2)], "Hello of protocol version 2, expected 1,"),
    "second hello": ([f.hello(), f.hello()], "second Hello"),
    "cpu number": ([f.cpu(512)], "CPU number 512"),
    "cpu twice": ([f.cpu(1), f.cpu(1)], "second Cpu message"),
    "vcpu twice": ([f.vcpu(1), f.vcpu(1)], "second Vcpu message"),
    "node": ([f.distances(64, 10)], "node 64"),
    "distances count": ([(f.DISTANCES, struct.pack("<II64I", 0, 65, *([0] * 64)))], "65 entries"),
    "event kind": ([f.event(0, 10, 0)], "unknown kind 10"),
    "event text": ([f.event(0, 1, 0, b"x" * 4097)], "text of 4097 bytes"),
    "event short": ([(f.SCHED_EVENT, b"123")], "struct ktstr_msg_sched_event of 3 bytes"),
    "op": ([f.stimulus(0, 0, 0)], "unknown op 0"),
    "worker index": ([f.worker(4096)], "worker 4096"),
    "worker twice": ([f.worker(1), f.worker(1)], "worker 1"),
    "worker samples": ([f.worker(1, samples=100001)], "100001 samples"),
    "worker cpu": ([f.worker(1, gap_cpu=512)], "CPU number 512"),
    "worker exit": ([f.worker(1, exit_kind=5)], "unknown kind 5"),
    "samples unannounced": ([f.worker(1, samples=1), f.samples(1, 5, 6)], "2 samples of worker 1"),
    "samples of nobody": ([f.samples(1, 5)], "worker 1"),
    "samples too short": ([f.worker(1, samples=2), (f.SAMPLES, struct.pack("<IIQ", 1, 2, 5))], "8 bytes for 2 items"),
    "no samples": ([f.worker(1), (f.SAMPLES, struct.pack("<II", 1, 0))], "0 bytes for 0 items"),
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
        [f.hello(), (f.ERROR, b"no cgroups")],
        [f.hello(), f.cpu(0), f.event(0, 1, 0), f.cpu(1)],
        [f.hello(), (f.SCHED_LOG, b"x")],
        [f.hello(), f.stimulus(0, 6, 0)],
    ],
    ids=["nobody", "twice", "after an error", "after an event", "after a log", "after an op"],
)
def test_ready_is_refused_where_no_agent_waits(before: list[tuple[int, bytes]]) -> None:
    record, error = decode_channel(f.stream([*before, f.ready()]))
    assert record == decode_channel(f.stream(before))[0]
    assert error == f"Ready message where no agent waits for its program at {len(f.stream(before))}"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_ends_the_decoding_with_its_reason(name: str) -> None:
    messages, reason = BROKEN[name]
    first = (f.ERROR, b"before")
    record, error = decode_channel(f.stream([first, *messages, (f.ERROR, b"after")]))
    assert record.errors == ("before",)
    assert error is not None and reason in error
    offset = len(f.stream([first, *messages[:-1]]))
    assert error.endswith(f" at {offset}")


@pytest.mark.parametrize(
    ("message", "limit"),
    [((f.ERROR, b"x"), 256), (f.event(0, 1, 0), 256), ((f.SCHED_LOG, b"x" * 65536), 4), (f.stimulus(0, 6, 0), 8192)],
)
def test_more_of_a_kind_than_the_protocol_allows_is_a_flood(message: tuple[int, bytes], limit: int) -> None:
    assert read_channel(f.stream([message] * limit))[1] is None
    _, error = read_channel(f.stream([message] * (limit + 1)))
    assert error is not None and error.kind == "flood"


def test_truncated_channel_keeps_what_is_whole() -> None:
    data = f.stream([f.hello(), f.cpu(0)])
    record, error = read_channel(data[:-1])
    assert record.kernel_release == "6.14.0" and record.cpus == ()
    assert error is not None and error.kind == "truncated" and error.offset == len(f.stream([f.hello()]))


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(data: bytes) -> None:
    assert decode_channel(data)[0] == SILENT


@given(st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=240)), max_size=6))
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

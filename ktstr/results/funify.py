"""JSON with the names in it replaced, so that a result can be shown to others, people or models, without telling whose
it is. What says how something performed stays: numbers under keys that are known to be metrics, fractions, flags.

It is one-way, and the same under the same seed: equal values of one key get equal replacements. It is no security
feature: short values can be guessed, keys stay as they are, and what is fed by a seed can be tried by who knows it.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from typing import Any

from ktstr.results.nicknames import nickname
from ktstr.results.siphash import siphash128

INPUT_CAP = 256 << 20  # bytes
_PEPPER = b"ktstr funify 1"
_U32_MAX, _U63_MAX, _U64_MAX = 2**32 - 1, 2**63 - 1, 2**64 - 1

# Keys whose values stay, and endings of such keys.
_KEPT = """
    schema version type kind status state result verdict outcome phase policy priority nice weight capacity size len
    length depth index idx level tier rank slot epoch generation nr_running nr_queued nr_failed nr_switches
    runqueue_depth
    numa_hit numa_miss numa_foreign numa_interleave_hit numa_local numa_other
    select_cpu_fallback dispatch_local_dsq_offline dispatch_keep_last enq_skip_exiting enq_skip_migration_disabled
    reenq_immed reenq_local_repeat refill_slice_dfl bypass_duration bypass_dispatch bypass_activate insert_not_owned
    sub_bypass_dispatch
    cnt nsecs misses verified_insns cycles instructions cache_misses branch_misses
    flags ops_qseq kick_sync nr_immed rq_clock nr seq
    nr_threads prio static_prio normal_prio nvcsw nivcsw signal_nvcsw signal_nivcsw bytes_read bytes_written io_errors
    cpus cpuset_cpus
"""
_KEPT_ENDINGS = """
    count total completed dropped failed skipped throttled read written errors
    per_sec per_ms rate hz ratio fraction pct percent
    ns us ms sec seconds bytes kb mb gb pages
    min max mean avg stddev p50 p90 p95 p99
    capacity size depth len length weight nice priority index idx offset generation epoch
    version status state kind type phase verdict outcome
"""
KEPT = frozenset(_KEPT.split())
KEPT_ENDINGS = tuple(f"_{ending}" for ending in _KEPT_ENDINGS.split())
# Numbers under these are of 32 bits, and stay so.
_U32 = frozenset(("cpu_id", "uid", "gid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid"))
_U32_ENDINGS = ("_u32", "_u32_id")


def hash_key(seed: str | None) -> bytes:
    """The 16 bytes that replacements depend on: of a seed, or, without one, of this moment."""
    if seed is None:
        return os.urandom(16)
    return hashlib.sha256(_PEPPER + b"\0" + seed.encode("utf-8", "surrogateescape")).digest()[:16]


def is_kept(key: str) -> bool:
    """Whether values under a key stay."""
    return key in KEPT or key.endswith(KEPT_ENDINGS)


def funify(document: Any, key: bytes) -> Any:
    """A parsed JSON document with its names replaced; ``key`` is of 16 bytes."""

    @lru_cache(maxsize=1 << 16)
    def digest(namespace: str, value: str) -> int:
        return siphash128(f"{namespace}\0{value}".encode("utf-8", "surrogatepass"), key)

    def replaced(value: Any, namespace: str, kept: bool) -> Any:
        if isinstance(value, dict):
            return {name: replaced(item, name, is_kept(name)) for name, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, namespace, kept) for item in value]
        if kept or value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return _number(value, digest(namespace, str(value)), namespace)
        low = digest(namespace, value)
        return nickname(low & 0xFF, low >> 8 & 0xFF)

    return replaced(document, "", False)


def _number(value: int, digest: int, namespace: str) -> int:
    """Another number of the same sign and width. What often means none, 0 and the largest, stays."""
    if namespace in _U32 or namespace.endswith(_U32_ENDINGS):
        return value if value in (0, _U32_MAX) else digest & _U32_MAX
    if value in (0, _U64_MAX):
        return value
    return digest & _U64_MAX if value > 0 else -max(1, digest & _U63_MAX)

"""Declared tests for the compiler's tests, as ktstr.yaml has them, and what they compile to."""

from __future__ import annotations

from pathlib import Path

from ktstr.config.load import parse
from ktstr.config.model import Builtin, Config, SchedulerDecl
from ktstr.config.topology import Topology
from ktstr.scenarios.compile import Compiled, Programs, compile_test
from ktstr.scenarios.program import Op, Program, Scope, flat
from ktstr.scenarios.verify import verify

S, MS = 1_000_000_000, 1_000_000
STOP = 5 * S
EEVDF = SchedulerDecl("eevdf", Builtin("eevdf"))
TINY = Topology.parse("1n2l2c1t")
NUMA = Topology.parse("2n2l2c1t")
PAYLOADS = "payloads: {bench: {path: ./bin/bench, args: [--fast], env: {A: b}}, other: {path: ./other}}\n"


def config(text: str) -> Config:
    """A project with the test ``t`` of these lines, which are indented by two; it lasts for a second."""
    whole = f"{PAYLOADS}tests:\n t:\n  duration: 1s\n{text}"
    return parse(whole.encode(), Path("ktstr.yaml"), validated=True)


def compiled(
    text: str, topology: Topology = TINY, seed: int = 0, scheduler: SchedulerDecl = EEVDF, binary: str | None = None
) -> Compiled:
    """What it compiles to, which the agent takes."""
    read = config(text)
    made = compile_test(read.tests["t"], topology, scheduler, seed, Programs(binary, payloads=read.payloads))
    verify(made.program)
    return made


def step_of(program: Program, number: int = 1) -> tuple[Op, ...]:
    """The ops of a step, without its checkpoint."""
    steps = [op for op in program.ops if isinstance(op, Scope) and op.step]
    return steps[number - 1].body[:-1]


def op_at(program: Program, place: int) -> Op:
    return list(flat(program.ops))[place]

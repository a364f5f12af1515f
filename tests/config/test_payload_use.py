"""Which payloads a test runs, wherever it says so."""

from __future__ import annotations

from ktstr.config import ops
from ktstr.config.model import Backdrop, Step, TestDecl
from ktstr.config.payload_use import used_payloads
from ktstr.config.scenario import Cgroup, Work


def custom(payload: str) -> Work:
    return Work("Custom", payload=payload)


def test_a_test_without_any_uses_none() -> None:
    assert used_payloads(TestDecl("t", (Cgroup("a", (Work(),)),))) == ()


def test_the_short_form_has_them_beside_its_cgroups_and_in_them() -> None:
    test = TestDecl("t", (Cgroup("a", (custom("own"), Work())),), payloads=(ops.RunPayload("beside", "a"),))
    assert used_payloads(test) == ("own", "beside")


def test_each_is_named_once_wherever_it_is_run() -> None:
    step = Step(
        cgroups=(Cgroup("a", (custom("worker"),)),),
        ops=(
            ops.RunPayload("op"), ops.WaitPayload("op"), ops.KillPayload("op"), ops.Freeze("a", frozen=True),
            ops.Spawn("a", custom("spawned")),
        ),
        payloads=(ops.RunPayload("last"), ops.RunPayload("op")),
    )  # fmt: skip
    backdrop = Backdrop((Cgroup("b", (custom("behind"),)),), (ops.RunPayload("op"),), (ops.RunPayload("beneath"),))
    test = TestDecl("t", (), steps=(step, Step(payloads=(ops.RunPayload("second"),))), backdrop=backdrop)
    assert used_payloads(test) == ("behind", "op", "beneath", "spawned", "worker", "last", "second")

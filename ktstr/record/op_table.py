"""The ops of ``vmm_c/include/ops.def``: made of it by ``python -m ktstr.record.definitions``.

Edit that file, not this one.
"""

from __future__ import annotations

from ktstr.record.facts import OpFacts

OPS: dict[str, OpFacts] = {
    "StartScheduler": OpFacts(
        number=1,
        about="start the scheduler binary and await its attach",
        fields=("PAYLOAD", "NS"),
        makes=True,
        takes_down=False,
    ),
    "StopScheduler": OpFacts(
        number=2,
        about="ask the scheduler to end and verify that it detached",
        fields=("NS",),
        makes=False,
        takes_down=True,
    ),
    "AddCgroup": OpFacts(
        number=3,
        about="create a cgroup, with or without a cpuset",
        fields=("CGROUP",),
        makes=True,
        takes_down=False,
    ),
    "Spawn": OpFacts(
        number=4,
        about="fork the workers of a work, blocked, into its cgroup",
        fields=("WORK",),
        makes=True,
        takes_down=False,
    ),
    "Release": OpFacts(
        number=5,
        about="let blocked workers begin",
        fields=("WHO",),
        makes=False,
        takes_down=False,
    ),
    "Hold": OpFacts(
        number=6,
        about="let the workload run",
        fields=("NS",),
        makes=False,
        takes_down=False,
    ),
    "Delay": OpFacts(
        number=7,
        about="a perturbation: the agent sleeps before the next op",
        fields=("NS", "JITTER"),
        makes=False,
        takes_down=False,
    ),
    "StopWorkers": OpFacts(
        number=8,
        about="stop workers and send their reports",
        fields=("WHO", "NS"),
        makes=False,
        takes_down=True,
    ),
    "RemoveCgroups": OpFacts(
        number=9,
        about="drain and remove cgroups",
        fields=("WHO",),
        makes=False,
        takes_down=True,
    ),
    "Scope": OpFacts(
        number=10,
        about="a block that takes down what was made in it",
        fields=("BODY", "NS", "STEP"),
        makes=False,
        takes_down=True,
    ),
    "Repeat": OpFacts(
        number=11,
        about="a block that is run again",
        fields=("BODY", "COUNT", "NS", "INTERVAL"),
        makes=False,
        takes_down=False,
    ),
    "Checkpoint": OpFacts(
        number=12,
        about="send what each worker did since the last checkpoint",
        fields=("PHASE",),
        makes=False,
        takes_down=False,
    ),
    "Write": OpFacts(
        number=13,
        about="write a text to a file of the guest",
        fields=("PATH", "TEXT", "RESTORE"),
        makes=True,
        takes_down=False,
    ),
    "Read": OpFacts(
        number=14,
        about="send what a file of the guest holds",
        fields=("PATH",),
        makes=False,
        takes_down=False,
    ),
    "Run": OpFacts(
        number=15,
        about="start a payload",
        fields=("PAYLOAD",),
        makes=True,
        takes_down=False,
    ),
    "Wait": OpFacts(
        number=16,
        about="wait for the end of a payload",
        fields=("PAYLOAD", "NS"),
        makes=False,
        takes_down=False,
    ),
    "Kill": OpFacts(
        number=17,
        about="end a payload and its process group",
        fields=("PAYLOAD",),
        makes=False,
        takes_down=True,
    ),
    "Move": OpFacts(
        number=18,
        about="move workers into a cgroup",
        fields=("WHO", "CGROUP"),
        makes=False,
        takes_down=False,
    ),
    "SetCpus": OpFacts(
        number=19,
        about="change the cpuset of a cgroup",
        fields=("CGROUP", "MASK"),
        makes=False,
        takes_down=False,
    ),
    "SetAffinity": OpFacts(
        number=20,
        about="change the affinity of workers",
        fields=("WHO", "MASK"),
        makes=False,
        takes_down=False,
    ),
    "ClearCpus": OpFacts(
        number=21,
        about="give a cgroup the CPUs of its parent",
        fields=("CGROUP",),
        makes=False,
        takes_down=False,
    ),
    "WriteCgroup": OpFacts(
        number=22,
        about="write a text to a file of a cgroup",
        fields=("CGROUP", "FILE", "TEXT"),
        makes=False,
        takes_down=False,
    ),
    "ReadCgroup": OpFacts(
        number=23,
        about="send what a file of a cgroup holds",
        fields=("CGROUP", "FILE"),
        makes=False,
        takes_down=False,
    ),
}

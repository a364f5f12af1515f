"""sched_ext's dumps, written by hand after scx_dump_state of three kernels: what each line says is in the tests."""

from __future__ import annotations

# Linux 7.2, through the tracepoint: the watchdog found worker/0 in the scheduler's own queue 7, behind nobody, and its
# CPU idle; another task waits there too, one runs, and one has only just become runnable.
_STALL = """\
ktstr: root
kworker/u16:3[59] triggered exit kind 1026 on CPU 2:
  runnable task stall (worker/0[120] failed to run for 1.728s)

Backtrace:
  __scx_exit+0x4f/0x70
  scx_watchdog_workfn+0x18e/0x240

CPU states
----------

CPU 2   : nr_run=2 flags=0x1 cpu_rel=0 ksync=1
          curr=swapper/2[0] class=idle_sched_class

  R worker/0[120] *root -1728ms
      scx_state/flags=4/0x3 dsq_flags=0x0 ops_state/qseq=0/0
      sticky/holding_cpu=-1/-1 dsq_id=0x7
      dsq_vtime=55 slice=10000000 weight=200
      cpus=b no_mig=0

    futex_do_wait+0x7c/0x110
    do_syscall_64+0xe1/0x610

  R worker/1[121] *root -900ms
      scx_state/flags=4/0x3 dsq_flags=0x0 ops_state/qseq=0/0
      sticky/holding_cpu=-1/-1 dsq_id=0x7
      dsq_vtime=0 slice=10000000 weight=100
      cpus=f no_mig=0

CPU 3   : nr_run=2 flags=0x1 cpu_rel=0 ksync=18
          curr=kworker/u16:3[59] class=ext_sched_class

 *R kworker/u16:3[59] *root +0ms
      scx_state/flags=4/0xd dsq_flags=0x0 ops_state/qseq=0/0
      sticky/holding_cpu=-1/-1 dsq_id=(n/a)
      dsq_vtime=0 slice=10000000 weight=100
      cpus=f no_mig=0

    scx_dump_state+0x2a1/0x570
    irq_work_run+0x18/0x50
    scx_watchdog_workfn+0x1ab/0x240

  R kworker/3:1[46] *root +8ms
      scx_state/flags=4/0x3 dsq_flags=0x0 ops_state/qseq=0/0
      sticky/holding_cpu=-1/-1 dsq_id=0x8000000000000002
      dsq_vtime=0 slice=10000000 weight=100
      cpus=8 no_mig=0

Event counters
--------------
              SCX_EV_SELECT_CPU_FALLBACK:                3
                  SCX_EV_BYPASS_DURATION:         27562883
"""
STALL = "".join(f"sched_ext_dump: {line}\n" for line in _STALL.splitlines())

# Linux 6.12, as a loader prints it, after lines of its own: scx_bpf_error in the scheduler's enqueue.
ERROR = """\
Some loader 1.0

DEBUG DUMP
================================================================================

stress[77] triggered exit kind 1025:
  scx_bpf_error (no queue for cell (3))

Backtrace:
  scx_exit+0x51/0x70
  bpf_prog_19e874da3e8a6572_mine_enqueue+0x9c/0x109
  do_enqueue_task+0x9c/0x1f0

dump of the scheduler's own: cells=3

CPU states
----------

CPU 0   : nr_run=1 flags=0x0 cpu_rel=0 pnt_seq=12
          curr=stress[77] class=ext_sched_class

 *R stress[77] +0ms
      scx_state/flags=3/0x1 dsq_flags=0x0 ops_state/qseq=0/0
      sticky/holding_cpu=-1/-1 dsq_id=(n/a) dsq_vtime=9
      cpus=ff,00000001

================================================================================
"""

# Linux 7.2: the BPF scheduler took the task and never dispatched it; its CPU ran another all the while.
LOST_TASK = """\
mine_1.0: root
kworker/0:1[9] triggered exit kind 1026 on CPU 1:
  runnable task stall (lost[500] failed to run for 30.004s)

Backtrace:
  scx_watchdog_workfn+0x18e/0x240

CPU states
----------

CPU 1   : nr_run=2 flags=0x1 cpu_rel=0 ksync=1
          curr=hog[400] class=ext_sched_class

 *R hog[400] *root -2ms
      scx_state/flags=4/0xd dsq_flags=0x0 ops_state/qseq=0/0
      sticky/holding_cpu=-1/-1 dsq_id=(n/a)
      dsq_vtime=0 slice=18446744073709551615 weight=100
      cpus=2 no_mig=0

  R lost[500] *root -30004ms
      scx_state/flags=4/0x1 dsq_flags=0x0 ops_state/qseq=2/77
      sticky/holding_cpu=-1/-1 dsq_id=(n/a)
      dsq_vtime=0 slice=20000000 weight=100
      cpus=2 no_mig=0
"""

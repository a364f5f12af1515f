"""Writing a result out: text or JSON for standard output, JUnit XML, and the summary of a CI's step."""

from __future__ import annotations

from ktstr.commands.declare.command import Invocation
from ktstr.commands.perf.options import Options
from ktstr.errors import HostError
from ktstr.files import write_atomic
from ktstr.stats.perf import cases, document, step_summary, text
from ktstr.stats.perf.result import PerfDelta


def report(invocation: Invocation, options: Options, result: PerfDelta) -> str:
    """What standard output is to hold; the rest is written. A file that cannot be is one more failure."""
    if options.junit is not None:
        path = invocation.project.stand / options.junit
        try:
            write_atomic(path, cases.junit(result).encode())
        except HostError as err:
            invocation.ledger.fail(f"junit={options.junit}", err)
    step_summary.append_step_summary(invocation.environ, step_summary.markdown(result))
    if options.json:
        return document.to_json(result)
    return text.render(result, all_metrics=options.all_metrics)

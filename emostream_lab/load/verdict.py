"""What the workers of a run report, and the verdict on the whole run. Pure."""

from collections.abc import Iterable

import msgspec

from emostream_lab.account.account import RunAccount


class Report(msgspec.Struct, kw_only=True):
    """What one worker reports at the end of a run.

    `sequence` is the last swarm that it knows of. `clock` describes the difference to the aggregator's clock.
    """

    worker: str
    sequence: int
    account: RunAccount
    clock: str = ""


class Verdict(msgspec.Struct):
    """The result of a run, which is good if there are no problems. `line` states the result in one line."""

    line: str
    problems: list[str]

    @property
    def is_good(self) -> bool:
        return not self.problems


def judge(reports: Iterable[Report], counted: RunAccount, lost_workers: Iterable[str] = ()) -> Verdict:
    """Judge a whole run. `counted` says what the pipeline counted; `lost_workers` sent no report."""
    account = sum((report.account for report in reports), counted)
    problems = [
        *(f"worker {worker} was lost, and what it sent and saw with it: the run is invalid" for worker in lost_workers),
        *account.problems(),
    ]
    total = account.total
    line = (
        f"conservation {'FAILED' if problems else 'holds'}: accepted {sum(total.accepted.values()):,}, "
        f"counted {sum(total.by_totals.values()):,}, lost {account.lost.total():,}, "
        f"doubled {account.doubled.total():,}, unknown {sum(total.unknown.values()):,}; "
        f"{total.viewers:,} viewers saw {total.delivered:,} of {total.expected:,} swarms, "
        f"{total.gaps:,} gaps, {total.repeats:,} repeats"
    )
    return Verdict(line, problems)

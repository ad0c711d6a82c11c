"""What the workers of a run report, and the verdict on the whole run. Pure."""

from collections.abc import Iterable

import msgspec

from emostream_lab.account.account import RunAccount


class Report(msgspec.Struct, kw_only=True):
    """What one worker reports at the end of a run.

    `sequences` has the last swarm of each event that it knows of. `clock` describes the difference to the aggregator's
    clock. `missing` names what the worker waited for in vain, so that it sent nothing.
    """

    worker: str
    sequences: dict[str, int]
    account: RunAccount
    clock: str = ""
    missing: list[str] = []


class Verdict(msgspec.Struct):
    """The result of a run, which is good if there are no problems.

    `line` states the result in one line. `events` has a line for each event if there are several.
    """

    line: str
    problems: list[str]
    events: list[str] = []

    @property
    def is_good(self) -> bool:
        return not self.problems


def judge(reports: Iterable[Report], counted: RunAccount, lost_workers: Iterable[str] = ()) -> Verdict:
    """Judge a whole run. `counted` says what the pipeline counted; `lost_workers` sent no report."""
    reports = list(reports)
    account = sum((report.account for report in reports), counted)
    problems = [
        *(f"worker {worker} was lost, and what it sent and saw with it: the run is invalid" for worker in lost_workers),
        *(
            f"worker {report.worker} sent nothing, because it did not get {' or '.join(report.missing)}: the failures "
            "say why"
            for report in reports
            if report.missing
        ),
        *account.problems(),
    ]
    line = f"conservation {'FAILED' if problems else 'holds'}: {_figures(account)}"
    events = [f"{event}: {_figures(RunAccount({event: each}))}" for event, each in account.events.items()]
    return Verdict(line, problems, events if len(events) > 1 else [])


def _figures(account: RunAccount) -> str:
    total = account.total
    return (
        f"accepted {sum(total.accepted.values()):,}, counted {sum(total.by_totals.values()):,}, "
        f"lost {account.lost.total():,}, doubled {account.doubled.total():,}, "
        f"unknown {sum(total.unknown.values()):,}; {total.viewers:,} viewers saw {total.delivered:,} of "
        f"{total.expected:,} swarms, {total.gaps:,} gaps, {total.repeats:,} repeats"
    )

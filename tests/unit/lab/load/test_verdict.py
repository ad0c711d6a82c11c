"""The verdict adds up the workers' reports, and a run without one of them is invalid."""

from emostream_lab.account.account import Account, RunAccount
from emostream_lab.load.verdict import Report, judge

COUNTED = RunAccount({"main": Account(by_totals={"🔥": 100}, by_swarms={"🔥": 100})})


def report(worker: str, accepted: int) -> Report:
    account = Account(accepted={"🔥": accepted}, viewers=10, delivered=500, expected=500)
    return Report(worker=worker, sequence=60, account=RunAccount({"main": account}))


def test_the_line_says_what_the_workers_saw_together() -> None:
    verdict = judge([report("1", 60), report("2", 40)], COUNTED)
    assert verdict.is_good
    assert verdict.line == (
        "conservation holds: accepted 100, counted 100, lost 0, doubled 0, unknown 0; "
        "20 viewers saw 1,000 of 1,000 swarms, 0 gaps, 0 repeats"
    )


def test_what_is_lost_fails_the_run() -> None:
    verdict = judge([report("1", 101)], COUNTED)
    assert not verdict.is_good
    assert verdict.line.startswith("conservation FAILED: accepted 101, counted 100, lost 1,")


def test_a_lost_worker_makes_the_run_invalid() -> None:
    [problem] = judge([report("1", 100)], COUNTED, lost_workers=["loadgen1_2"]).problems
    assert "loadgen1_2" in problem
    assert "invalid" in problem

"""The verdict adds up the workers' reports, and a run without one of them is invalid."""

from emostream_lab.account.account import Account, RunAccount
from emostream_lab.load.verdict import Report, judge

COUNTED = RunAccount({"main": Account(by_totals={"🔥": 100}, by_swarms={"🔥": 100})})


def report(worker: str, accepted: int) -> Report:
    account = Account(accepted={"🔥": accepted}, viewers=10, delivered=500, expected=500)
    return Report(worker=worker, sequences={"main": 60}, account=RunAccount({"main": account}))


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


def test_a_worker_that_sent_nothing_fails_the_run_and_says_why() -> None:
    silent = Report(worker="loadgen1_2", sequences={}, account=RunAccount({}), missing=["a stream of final"])
    [problem] = judge([report("1", 100), silent], COUNTED).problems
    assert problem == "worker loadgen1_2 sent nothing, because it did not get a stream of final: the failures say why"


def test_each_event_has_its_line_and_a_problem_names_it() -> None:
    sent = RunAccount({"main": Account(accepted={"🔥": 5}), "final": Account(accepted={"🔥": 5})})
    counted = RunAccount(
        {
            "main": Account(by_totals={"🔥": 4}, by_swarms={"🔥": 4}),
            "final": Account(by_totals={"🔥": 6}, by_swarms={"🔥": 6}),
        }
    )
    verdict = judge([Report(worker="1", sequences={}, account=sent)], counted)
    assert verdict.line.startswith("conservation FAILED: accepted 10, counted 10, lost 1, doubled 1,")
    assert [line[:50] for line in verdict.events] == [
        "main: accepted 5, counted 4, lost 1, doubled 0, unknown 0;"[:50],
        "final: accepted 5, counted 6, lost 0, doubled 1, unknown 0;"[:50],
    ]
    assert [problem.partition(":")[0] for problem in verdict.problems] == ["main", "final"]

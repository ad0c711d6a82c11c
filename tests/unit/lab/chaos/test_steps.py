"""Each step is done once it is due, and again until it succeeds. An event is closed after it was opened."""

import contextlib
import threading
from collections.abc import Callable

import pytest

from emostream.errors import EmoStreamError
from emostream_lab.chaos.plan import Step
from emostream_lab.chaos.steps import Steps
from emostream_lab.chaos.timeline import Timeline

OPEN, CLOSE = Step(0, 1.0, "open", "a"), Step(1, 0.0, "close", "a")
PATIENCE_SECONDS = 30


def steps(do: Callable[[Step], None]) -> Steps:
    return Steps([OPEN, CLOSE], do, Timeline(lambda _: None))


def wait_over(found: Steps) -> None:
    is_over = threading.Event()
    for _ in range(10 * PATIENCE_SECONDS):
        if found.is_over():
            return
        is_over.wait(0.1)
    raise AssertionError(found.problems())


def test_a_step_that_fails_is_done_again_before_the_next_one_of_its_event() -> None:
    tried: list[Step] = []

    def fail_once(step: Step) -> None:
        tried.append(step)
        if len(tried) == 1:
            raise EmoStreamError("ZooKeeper is away")

    found = steps(fail_once)
    found.step(lambda step: step is OPEN)
    assert not found.is_over()
    found.step(lambda _: True)
    wait_over(found)
    assert tried == [OPEN, OPEN, CLOSE]
    assert found.problems() == []
    found.stop()


def test_no_step_waits_for_another_event() -> None:
    other = Step(1, 0.0, "open", "b")
    is_other_done = threading.Event()

    def wait_for_other(step: Step) -> None:
        if step is other:
            is_other_done.set()
        else:
            assert is_other_done.wait(PATIENCE_SECONDS)

    found = Steps([OPEN, other], wait_for_other, Timeline(lambda _: None))
    found.step(lambda _: True)
    wait_over(found)
    found.stop()


def test_what_is_not_done_is_a_problem() -> None:
    is_tried = threading.Event()

    def fail(_: Step) -> None:
        is_tried.set()
        raise EmoStreamError("ZooKeeper is away")

    found = steps(fail)
    found.step(lambda step: step is OPEN)
    found.cut_short()
    is_tried.wait(PATIENCE_SECONDS)
    found.stop()
    assert found.problems() == [f"not done: {OPEN}: ZooKeeper is away"]
    assert not found.is_over()


def test_an_error_of_its_own_ends_the_run() -> None:
    def break_(_: Step) -> None:
        raise ValueError("a bug")

    found = Steps([OPEN], break_, Timeline(lambda _: None))
    with contextlib.suppress(ValueError):
        found.step(lambda _: True)
    found.stop()
    with pytest.raises(ValueError, match="a bug"):
        found.step(lambda _: True)

"""What ends a process, and the limit of open files."""

import os
import resource
import signal
import threading
from collections.abc import Iterator

import pytest

from emostream.errors import EmoStreamError
from emostream.runtime import process
from emostream.runtime.process import StoppedError, StopSignals


@pytest.fixture(autouse=True)
def limit() -> Iterator[tuple[int, int]]:
    """The soft and the hard limit. They are restored after the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one(limit: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    process.raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limit[1], limit[1])


def test_more_connections_than_files_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1_000))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    process.raise_file_limit("EMOSTREAM_X", 836, 100)
    with pytest.raises(EmoStreamError, match=r"EMOSTREAM_X=837 needs 1001 open files, but 1000 .* lower it to 836"):
        process.raise_file_limit("EMOSTREAM_X", 837, 100)
    with pytest.raises(EmoStreamError, match=r"are allowed: raise LimitNOFILE"):
        process.raise_file_limit("EMOSTREAM_X", 1, 1_000)


@pytest.fixture
def stop() -> Iterator[StopSignals]:
    """The handlers of the signals are restored after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield StopSignals()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_search_ends_by_what_it_finds_or_raises(stop: StopSignals) -> None:
    assert stop.unless_set(lambda: 7) == 7

    def search() -> None:
        raise EmoStreamError("nobody is there")

    with pytest.raises(EmoStreamError, match="nobody is there"):
        stop.unless_set(search)


def test_a_signal_ends_a_search_that_never_ends(stop: StopSignals) -> None:
    never = threading.Event()

    def search() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        never.wait()

    with pytest.raises(StoppedError):
        stop.unless_set(search)
    never.set()
    with pytest.raises(StoppedError):
        stop.unless_set(lambda: 7)


def test_a_signal_while_the_lock_of_its_wait_is_held_is_heard(stop: StopSignals) -> None:
    with stop._cond:  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(60)

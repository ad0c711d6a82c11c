"""The limit of open files."""

import resource
from collections.abc import Iterator

import pytest

from emostream.errors import EmoStreamError
from emostream.runtime import process


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

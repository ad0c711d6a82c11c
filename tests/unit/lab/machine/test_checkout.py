"""Tests that an unusable checkout or user is refused early, with a sentence that says what to do."""

import os
from pathlib import Path

import pytest

from emostream.errors import EmoStreamError
from emostream_lab.machine import checkout


@pytest.mark.parametrize("name", ["emo stream", "émo-stream", "эмо", "100% (copy)", "it's"])
def test_a_folder_with_an_unusual_name_is_taken(tmp_path: Path, name: str) -> None:
    checkout.check(tmp_path / name, [])


@pytest.mark.parametrize(("name", "character"), [("emo 🎉", r"\\U0001f389"), ("a:b", ":"), ("a,b", ","), ("c#", "#")])
def test_a_folder_that_java_or_spark_cannot_use_is_refused(tmp_path: Path, name: str, character: str) -> None:
    with pytest.raises(EmoStreamError, match=f"holds '{character}': move the checkout"):
        checkout.check(tmp_path / name, [])


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    with pytest.raises(EmoStreamError, match="user id 4000000000 has no entry in /etc/passwd"):
        checkout.check_user()


def test_what_a_start_with_sudo_left_is_named_with_the_command_that_gives_it_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout.check_writable([tmp_path, tmp_path / "not there yet"])
    # Root may write everywhere, so the test replaces the check of the kernel.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(EmoStreamError, match=rf"`sudo chown -R {os.geteuid()}:{os.getegid()} {tmp_path}`"):
        checkout.check_writable([tmp_path, tmp_path / "not there yet"])

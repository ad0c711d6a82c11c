"""Tests the display on a terminal, on a terminal without escape codes, and on a closed pipe."""

import os
import pty
import sys

import pytest

from emostream_lab.display import Display


def written_to_a_terminal(monkeypatch: pytest.MonkeyPatch, kind: str) -> str:
    """Return what the display writes to a terminal with this TERM."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", kind)
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        display = Display()
        display.live("a figure")
        display.tell("a sentence")
        sent = ""
        # A read may return only a part of the output.
        while not sent.endswith("a sentence\r\n"):
            sent += os.read(ours, 1_000).decode()
    os.close(ours)
    return sent


def test_a_terminal_has_the_live_line_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written_to_a_terminal(monkeypatch, "xterm") == "\r\033[Ka figure\r\033[Ka sentence\r\n"


def test_a_terminal_that_knows_no_escape_codes_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written_to_a_terminal(monkeypatch, "dumb") == "a figure\r\na sentence\r\n"


def test_a_reader_that_is_gone_is_told_of_once_and_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    gone: list[str] = []
    with os.fdopen(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        display = Display(on_reader_gone=lambda: gone.append("gone"))
        for _ in range(3):
            display.tell("a sentence")
    assert gone == ["gone"]

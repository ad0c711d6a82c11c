"""A clone and its targets do the same on every machine."""

import os
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_clone_with_windows_line_ends_has_scripts_that_run(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        settings = ["-c", "core.autocrlf=true", "-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *settings, *arguments], cwd=tmp_path, check=True, capture_output=True)

    shutil.copy(REPOSITORY / ".gitattributes", tmp_path)
    script = tmp_path / "script"
    script.write_bytes(b"#!/bin/sh\nexit 0\n")
    git("init")
    git("add", "--all")
    git("commit", "--message", "a")
    script.unlink()
    git("checkout", "--", "script")
    assert script.read_bytes() == b"#!/bin/sh\nexit 0\n"


def test_targets_run_one_at_a_time_whatever_makeflags_says(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        f"""include {REPOSITORY}/Makefile
all: first second
first: ; @sleep 0.2; echo first
second: ; @echo second
"""
    )
    command = ["make", "--no-print-directory", "--file", makefile, "all"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MAKEFLAGS": "-j4"}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["first", "second"]

"""Reads the results of the last run of the benchmark on this machine."""

from datetime import date
from pathlib import Path

import msgspec

from emostream.errors import EmoStreamError
from emostream_lab.bench.figures import Figure

FILE = Path("build/bench/results.json")


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run, and when and where it was. The rest of its findings is not read."""

    machine: str
    date: date
    quick: bool
    figures: list[Figure]


def read(file: Path) -> Results:
    """Return the results in a file. Raises EmoStreamError if they cannot be read or are not those of a benchmark."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Results)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EmoStreamError(
            f"{file} cannot be used: {error}. Run `make bench` to write build/bench/results.json anew, or remove it."
        ) from error

"""Measures EmoStream, and others beside it: `python -m emostream_lab.bench [--quick] [PART ...]`, as `make bench` does.

What is found goes to the terminal as a table, to build/bench/results.json, and as a picture to build/bench/figures.png.
"""

import argparse
import importlib
import shutil
import sys
import time
from pathlib import Path

from emostream.errors import EmoStreamError
from emostream_lab.bench import machine, report
from emostream_lab.bench.figures import Findings, last_line

OUTPUT = Path("build/bench")
# Each is a module with `measure(directory, tell, quick=...)`.
PARTS = ("ingest", "fanout", "aggregator", "hops", "growth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="shorter, with fewer viewers, and the main figures alone; they vary more"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    try:
        measure(arguments.parts or PARTS, quick=arguments.quick)
    except EmoStreamError as error:
        sys.exit(f"bench: {error}")


def measure(parts: list[str] | tuple[str, ...], *, quick: bool) -> None:
    """Run these parts, one after the other, and report."""
    machine.allow_many_files()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    began = time.monotonic()
    findings = Findings()
    for number, part in enumerate(parts, 1):

        def tell(sentence: str, heading: str = f"[{number}/{len(parts)}] {part}") -> None:
            print(f"{time.monotonic() - began:4.0f} s  {heading}: {sentence}", flush=True)

        findings.add(importlib.import_module(f"emostream_lab.bench.{part}").measure(OUTPUT / part, tell, quick=quick))
    report.write(findings, OUTPUT)
    print(f"\n{report.table(findings)}\n{OUTPUT}/results.json and figures.png hold all of it.")
    print(last_line(findings.figures))


if __name__ == "__main__":
    main()

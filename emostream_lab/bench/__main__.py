"""Measures EmoStream beside other servers: `python -m emostream_lab.bench [--quick] [PART ...]`, or `make bench`.

It prints the results as a table, and writes them to build/bench/results.json and, as a picture, to
build/bench/figures.png. If a judged figure misses its bound, it names the figure and exits with 1. With
`--against REVISION` it measures this checkout and that revision in turn, and judges nothing.
"""

import argparse
import importlib
import shutil
import sys
import time
from collections.abc import Sequence

from emostream.errors import EmoStreamError
from emostream_lab.bench import against, machine, report
from emostream_lab.bench.figures import Findings, last_lines, short
from emostream_lab.bench.results import FILE
from emostream_lab.machine.jars import REPOSITORY

OUTPUT = FILE.parent
# Each part is a module with `measure(directory, tell, quick=...)`.
PARTS = ("ingest", "fanout", "compression", "proxy", "aggregator", "hops", "start", "events", "growth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="shorter, with fewer viewers, and the main figures alone; they vary more"
    )
    parser.add_argument(
        "--against", metavar="REVISION", help="measure this checkout and that revision in turn, and print the ratios"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    try:
        if arguments.against:
            _measure_against(arguments.against, [*arguments.parts, *(["--quick"] if arguments.quick else [])])
        elif short(measure(arguments.parts or PARTS, quick=arguments.quick).figures):
            sys.exit(1)
    except EmoStreamError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit("\nbench: interrupted")


def _measure_against(revision: str, arguments: Sequence[str]) -> None:
    began = time.monotonic()

    def tell(sentence: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {sentence}", flush=True)

    print(against.measure(REPOSITORY, revision, arguments, tell))


def measure(parts: Sequence[str], *, quick: bool) -> Findings:
    """Run these parts, one after the other, and report their results."""
    machine.allow_many_files()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    began = time.monotonic()
    findings = Findings()
    for number, part in enumerate(parts, 1):

        def tell(sentence: str, heading: str = f"[{number}/{len(parts)}] {part}") -> None:
            print(f"{time.monotonic() - began:4.0f} s  {heading}: {sentence}", flush=True)

        findings.add(importlib.import_module(f"emostream_lab.bench.{part}").measure(OUTPUT / part, tell, quick=quick))
    report.write(findings, OUTPUT, quick=quick)
    print(f"\n{report.table(findings)}\n{FILE} and figures.png hold all of it.")
    print(last_lines(findings.figures))
    return findings


if __name__ == "__main__":
    main()

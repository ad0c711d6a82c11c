"""The options of a run: command-line flags that are also fields of the web UI."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from emostream import config
from emostream.config import ClientSettings
from emostream.model import MAIN
from emostream_lab.audience.shapes import SHAPES, Audience


def add_to(parser: LocustArgumentParser) -> None:
    """Add the flags of a run. Each flag is also the name of its field in the web UI."""
    meanings = "; ".join(f"{name}: {shape.meaning}" for name, shape in SHAPES.items())
    parser.add_argument(
        "--shape", choices=list(SHAPES), default="steady", help=f"How the audience behaves. {meanings}."
    )
    parser.add_argument("--viewers", type=int, default=1_000, help="Viewers at the height of the run.")
    parser.add_argument("--reactions", type=int, default=500, help="Reactions per second at the height of the run.")
    parser.add_argument(
        "--events",
        default=MAIN,
        help="The events that the audience is spread over, comma-separated. They must be open.",
    )
    parser.add_argument(
        "--share-of-first",
        type=float,
        default=0,
        help="The share of viewers and reactions that the first event gets, below 1. 0: all events get the same.",
    )
    parser.add_argument("--seconds", type=int, default=60, help="How long the audience stays.")
    parser.add_argument(
        "--results",
        default="build/load",
        metavar="<folder>",
        help="Where each run leaves a folder with its report.",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--password-file",
        default="",
        metavar="<file>",
        help="File with the password of the web UI's user `emostream`; needs --web-login.",
        include_in_web_ui=False,
    )


@dataclass(frozen=True)
class Options:
    """The options chosen for the next run. The URLs have no trailing slash."""

    shape: str
    audience: Audience
    events: tuple[str, ...]
    share_of_first: float | None
    registry_url: str
    ingest_url: str
    results: Path
    password_file: str

    @classmethod
    def of(cls, environment: Environment) -> "Options":
        """Read the flags, or the values that the web UI's form put in their place.

        Locust's own `--host` is one address for all services, as behind a gateway. Without it, the client's settings
        give the addresses of the registry and of ingest. Raises ConfigurationError if these settings are invalid.
        """
        chosen = environment.parsed_options or Namespace()
        client = config.load(ClientSettings)
        return cls(
            shape=chosen.shape,
            audience=Audience(chosen.viewers, chosen.reactions, chosen.seconds),
            events=tuple(dict.fromkeys(event.strip() for event in chosen.events.split(","))),
            share_of_first=chosen.share_of_first or None,
            registry_url=(environment.host or client.registry_url).rstrip("/"),
            ingest_url=(environment.host or client.ingest_url).rstrip("/"),
            results=Path(chosen.results),
            password_file=chosen.password_file,
        )

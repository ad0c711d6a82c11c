"""The command `emostream-lab`: runs EmoStream on one machine, simulates an audience, injects faults and measures."""

import math
import secrets
import sys
from pathlib import Path
from typing import BinaryIO

import click

from emostream import config
from emostream.cli import Command, start_tier, tell_changes
from emostream.errors import EmoStreamError
from emostream.model import MAIN
from emostream_lab.audience.shapes import SHAPES, Audience
from emostream_lab.bench import results

# Far more than a record has room for. The room depends on the settings.
_MAX_EVENTS = 100_000
_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
_DIGITS = len(str(_MAX_EVENTS)) + 1


def _number_of_events(_context: click.Context, _option: click.Parameter, value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value[:_DIGITS]) <= _MAX_EVENTS:
        raise EmoStreamError(f"EVENTS={value} cannot be used: give a whole number from 1 to {_MAX_EVENTS:,}.")
    return int(value)


_events_option = click.option(
    "--events",
    envvar="EVENTS",
    metavar="INTEGER",
    default="1",
    callback=_number_of_events,
    help="Over how many events the audience is spread; `main` is one.",
)


@click.group("emostream-lab", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="emostream")
def main() -> None:
    """Run EmoStream on one machine, simulate an audience, inject faults and measure."""


@main.command()
@click.option("--for", "for_seconds", envvar="FOR", type=click.IntRange(1), help="Stop after this many seconds.")
@click.option("--crowd", envvar="CROWD", type=click.IntRange(0, 50_000), default=1_000, help="Reactions per second.")
@click.option("--viewers", envvar="VIEWERS", type=click.IntRange(0, 9_000), default=500, help="Connected viewers.")
@click.option(
    "--trigger-ms", envvar="TRIGGER_MS", type=click.IntRange(250, 60_000), default=2_000, help="Time between swarms."
)
@click.option("--only", envvar="ONLY", default="", help="Tiers to start, comma-separated, instead of all.")
@click.option("--keep", envvar="KEEP", type=bool, default=False, help="Go on with the data of the last run.")
@click.option("--metrics", envvar="METRICS", type=bool, default=False, help="Start Prometheus with a page of graphs.")
@_events_option
@click.option("--standby", envvar="STANDBY", type=bool, default=False, help="Also start what takes over.")
@click.option("--tokens", envvar="TOKENS", type=bool, default=False, help="Let only viewers with a token in.")
@click.option("--tls", envvar="TLS", type=bool, default=False, help="Close each hop between processes.")
@click.option("--lan", "lan_wish", envvar="LAN", default="", help="1, or an address: serve viewers on the network too.")
def demo(  # noqa: PLR0913, PLR0917 - a parameter an option
    for_seconds: int | None,
    crowd: int,
    viewers: int,
    trigger_ms: int,
    only: str,
    keep: bool,
    metrics: bool,
    events: int,
    standby: bool,
    tokens: bool,
    tls: bool,
    lan_wish: str,
) -> None:
    """Run every tier on this machine with a simulated crowd. Each option is a variable too (`FOR=60 make demo`)."""
    for tier in config.TIERS:
        config.check(tier)
    from emostream_lab import demo as local_demo  # noqa: PLC0415
    from emostream_lab.machine import lan  # noqa: PLC0415
    from emostream_lab.processes.servers import HOST  # noqa: PLC0415
    from emostream_lab.processes.topology import Layout  # noqa: PLC0415

    tiers = tuple(tier.strip() for tier in only.split(",") if tier.strip())
    options = local_demo.DemoOptions(for_seconds, crowd, viewers, tiers, keep, events)
    public_address = lan.address(lan_wish) if lan_wish else HOST
    settings = local_demo.token_settings(local_demo.STATE_DIR) if tokens else {}
    layout = Layout(
        local_demo.STATE_DIR,
        trigger_ms=trigger_ms,
        public_address=public_address,
        settings=settings,
        has_standbys=standby,
        has_tls=tls,
        has_metrics=metrics,
    )
    sys.exit(local_demo.run(options, layout))


@main.command("break")
@click.option("--what", envvar="WHAT", default="", help="The tier or process to kill; any by default.")
def break_(what: str) -> None:
    """Kill a process of the running demo and report when it is ready again (`WHAT=kafka make break`)."""
    from emostream_lab import breaker, demo  # noqa: PLC0415

    breaker.run(demo.STATE_DIR / "topology.json", what, secrets.choice, click.echo)


@main.command()
@click.option("--seed", envvar="SEED", type=int, default=1, help="The same seed gives the same faults.")
@click.option("--faults", envvar="FAULTS", type=click.IntRange(1), default=25, help="How many faults.")
@click.option("--burst", envvar="BURST", type=click.IntRange(1), default=8, help="How many may overlap; 1 for none.")
def chaos(seed: int, faults: int, burst: int) -> None:
    """Inject faults into a new topology and account for every reaction (`SEED=7 make chaos`)."""
    from emostream_lab.chaos import run as local_chaos  # noqa: PLC0415

    sys.exit(local_chaos.run(seed, faults, local_chaos.layout_in(Path("build/chaos")), burst))


@main.command()
@click.option("--seed", type=int, default=1, help="The same seed gives the same faults.")
@click.option("--count", type=click.IntRange(1), default=10, help="How many faults.")
@click.option("--kinds", default="kill,stop,inbound,outbound,disk", help="Which kinds of faults.")
@click.argument("units", type=click.File("rb"), default="-")
def faults(seed: int, count: int, kinds: str, units: BinaryIO) -> None:
    """Print a plan of faults for deployed hosts as JSON. playbooks/chaos.yml carries it out.

    UNITS is a JSON file with the units of each host: {"kafka1": ["kafka.service"]}.
    """
    import msgspec  # noqa: PLC0415

    from emostream_lab.chaos import hosts as host_faults  # noqa: PLC0415

    units_by_host = msgspec.json.decode(units.read(), type=dict[str, list[str]])
    planned = host_faults.schedule(seed, count, host_faults.kinds_of(kinds), units_by_host)
    click.echo(msgspec.json.encode(planned))


@main.command()
@click.option("--due-days", type=click.IntRange(0), default=30, help="Also renew what is valid for less than this.")
@click.option("--check", is_flag=True, help="Make none: they are of a CA of your own. Say what is wrong with them.")
@click.argument("directory", type=click.Path(file_okay=False))
@click.argument("wanted", type=click.File("rb"), default="-")
def certificates(due_days: int, directory: str, wanted: BinaryIO, check: bool) -> None:
    """Keep a CA and certificates in DIRECTORY; the last line is `changed=N`.

    WANTED is a JSON list: [{"file": "host1/kafka.pem", "tier": "kafka", "cluster": "", "hosts": ["10.0.0.1"]}].
    """
    from datetime import timedelta  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from emostream_lab.machine import certificates as files  # noqa: PLC0415

    listed = msgspec.json.decode(wanted.read(), type=list[files.Wanted])
    if check:
        files.check(Path(directory), listed)
        made = []
    else:
        made = files.keep(Path(directory), listed, timedelta(days=due_days))
    tell_changes(made, check=False)


@main.command()
@click.option("--for", "for_seconds", type=click.IntRange(1), help="Stop after this many seconds; else run for ever.")
@click.option("--crowd", "rate", type=click.IntRange(0, 50_000), default=1_000, help="Reactions per second.")
@click.option("--viewers", type=click.IntRange(0, 50_000), default=500, help="Connected viewers.")
@click.option("--event", "events", multiple=True, help="An event to attend besides `main`; may be given again.")
@click.option("--figures-file", type=click.Path(dir_okay=False), help="Where figures go instead of the screen.")
def crowd(for_seconds: int | None, rate: int, viewers: int, events: tuple[str, ...], figures_file: str | None) -> None:
    """Simulate an audience for a running topology and account for every reaction."""
    start_tier("crowd")
    from emostream_lab.audience import crowd as local_crowd  # noqa: PLC0415

    audience = Audience(viewers, rate, for_seconds or math.inf)
    sys.exit(local_crowd.run(audience, [MAIN, *events], figures_file))


@main.command()
@click.argument("figures_file", type=click.Path(dir_okay=False))
def account(figures_file: str) -> None:
    """Print the account that a crowd wrote to FIGURES_FILE; exit with 1 unless it is exact."""
    from emostream_lab.account import figures  # noqa: PLC0415

    found = figures.read(Path(figures_file))
    if found is None or not found.is_final:
        raise EmoStreamError(f"the crowd wrote no account to {figures_file}: its log says why it ended.")
    click.echo(figures.summary(found))
    if not found.is_exact:
        sys.exit(1)


@main.command()
@click.option(
    "--shape", envvar="SHAPE", type=click.Choice(list(SHAPES)), default="steady", help="How the audience acts."
)
@click.option("--viewers", envvar="VIEWERS", type=click.IntRange(0), default=1_000, help="Viewers at the peak.")
@click.option("--reactions", envvar="REACTIONS", type=click.IntRange(1), default=500, help="Reactions/s at the peak.")
@click.option("--for", "seconds", envvar="FOR", type=click.IntRange(5), default=60, help="Seconds that the run takes.")
@click.option("--workers", envvar="WORKERS", type=click.IntRange(1), default=2, help="Locust processes, one a core.")
@_events_option
@click.option(
    "--idle", envvar="IDLE", type=click.IntRange(0, _MAX_EVENTS), default=0, help="Open events besides these."
)
@click.option("--share", envvar="SHARE", type=_SHARE, help="What `main` gets of viewers and reactions: 0.9 for 90 %.")
@click.option("--own", envvar="OWN", type=bool, default=False, help="Start a pipeline for it even if one runs.")
def load(  # noqa: PLR0913, PLR0917 - a parameter an option
    shape: str,
    viewers: int,
    reactions: int,
    seconds: int,
    workers: int,
    events: int,
    idle: int,
    share: float | None,
    own: bool,
) -> None:
    """Simulate an audience with Locust, on the running pipeline or a new one. Each option is a variable too."""
    config.check("client")
    from emostream_lab.load import command  # noqa: PLC0415

    options = command.LoadOptions(shape, viewers, reactions, seconds, workers, own, events, idle, share)
    sys.exit(command.run(options, config.load(config.ClientSettings)))


@main.command("plan")
@click.option("--viewers", type=click.IntRange(1), required=True, help="Connected at the same time.")
@click.option("--reactions-per-second", type=click.IntRange(1), required=True, help="At the peak.")
@click.option(
    "--results",
    "results_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"Of `make bench`. By default {results.FILE} if it exists. Built-in values replace those that it lacks.",
)
def plan_(viewers: int, reactions_per_second: int, results_file: Path | None) -> None:
    """Print how many hosts an audience needs, based on measurements of one core."""
    from emostream_lab import plan  # noqa: PLC0415

    if results_file is None and results.FILE.exists():
        results_file = results.FILE
    found = results.read(results_file) if results_file else None
    measured = plan.Measured(**plan.measured_in(found)) if found else None
    report = plan.report(plan.plan(plan.Audience(viewers, reactions_per_second), measured))
    click.echo(f"{report}\n\n{plan.basis(found)}")

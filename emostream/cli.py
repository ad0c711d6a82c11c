"""The command `emostream`: one subcommand a tier, and the operator's tools beside them.

Each subcommand imports its tier only when it runs, so that no tier needs what another one needs.
"""

import asyncio
import secrets
import sys
from typing import Any, BinaryIO

import click

from emostream import config, logs, output
from emostream.errors import ConfigurationError, EmoStreamError
from emostream.load.shapes import SHAPES


class Command(click.Group):
    """Prints an operator's error as its one sentence, instead of a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        output.tolerate_encoding()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            click.echo(f"emostream: {error}", err=True)
            sys.exit(2)
        except EmoStreamError as error:
            click.echo(f"emostream: {error}", err=True)
            sys.exit(1)


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="emostream")
def main() -> None:
    """Live emoji reactions for an audience of thousands.

    Every setting is an environment variable: see `emostream config show TIER`.
    """


@main.group("config")
def config_group() -> None:
    """Show or check the settings of a tier."""


@config_group.command("show")
@click.argument("tier", type=click.Choice(sorted(config.TIERS)))
def config_show(tier: str) -> None:
    """Print each setting of TIER with its value now, its default and its meaning."""
    for section in config.check(tier):
        click.echo(f"# {section.title}: {(type(section).__doc__ or '').splitlines()[0]}")
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            click.echo(f"# {field.description}")
            click.echo(f"{section.variable(name)}={text}")
        click.echo()


@config_group.command("check")
@click.argument("tier", type=click.Choice(sorted(config.TIERS)))
def config_check(tier: str) -> None:
    """Exit 0 if TIER can start with this environment; else say what to change and exit 2."""
    config.check(tier)
    click.echo(f"{tier}: the settings can be used")


@config_group.command("reference")
def config_reference() -> None:
    """Print docs/configuration.md: every setting and metric."""
    from emostream import reference  # noqa: PLC0415

    click.echo(reference.configuration_page().encode(), nl=False)


def start_tier(tier: str, **context: Any) -> None:
    """What each tier does first: refuse a bad environment, then log in its own name."""
    config.check(tier)
    logs.configure(config.load(config.LogSettings), tier=tier, **context)


@main.command()
@click.option("--cluster", help="The cluster whose topic is read.")
@click.option("--port", type=int, help="The port to bind.")
@click.option("--name", help="Unique in the cluster; the port by default.")
def subscriber(cluster: str | None, port: int | None, name: str | None) -> None:
    """Hold viewers' connections and send them each swarm."""
    settings = config.load(config.SubscriberSettings, cluster=cluster, port=port, name=name)
    start_tier("subscriber", cluster=settings.cluster, subscriber=settings.name or str(settings.port))
    from emostream.subscriber import service  # noqa: PLC0415

    service.run(settings, config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings))


@main.command()
@click.option("--cluster", help="The cluster whose topic is filled.")
@click.option("--port", type=int, help="The port of health and metrics.")
def publisher(cluster: str | None, port: int | None) -> None:
    """Relay each swarm to one cluster, or stand by while another one does."""
    settings = config.load(config.PublisherSettings, cluster=cluster, port=port)
    start_tier("publisher", cluster=settings.cluster)
    from emostream.publisher import service  # noqa: PLC0415

    service.run(settings, config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings))


@main.command()
@click.option("--host", help="The address to bind.")
@click.option("--port", type=int, help="The port to bind.")
def registry(host: str | None, port: int | None) -> None:
    """Tell viewers which subscriber to connect to, and serve the web page."""
    settings = config.load(config.RegistrySettings, host=host, port=port)
    start_tier("registry")
    from emostream.registry import service  # noqa: PLC0415

    service.run(settings, config.load(config.ZooKeeperSettings))


@main.command()
@click.option("--registry-url", help="The registry to ask.")
def status(registry_url: str | None) -> None:
    """Show every live process, and what is missing; exit 1 where something is."""
    settings = config.load(config.ClientSettings, registry_url=registry_url)
    start_tier("status")
    from emostream.registry import status as registry_status  # noqa: PLC0415

    view = registry_status.fetch(settings.registry_url)
    click.echo(registry_status.table(view))
    if problems := registry_status.problems(view, config.load(config.ClustersSettings).names):
        click.echo("\n" + "\n".join(problems))
        sys.exit(1)


@main.command()
@click.option("--registry-url", help="The registry.")
@click.option("--ingest-url", help="Where reactions are sent.")
@click.option("--subscribers", type=click.IntRange(1), required=True, help="How many there should be.")
@click.option("--timeout", "timeout_seconds", type=click.IntRange(1), default=60, help="Seconds to wait at most.")
def verify(registry_url: str | None, ingest_url: str | None, subscribers: int, timeout_seconds: int) -> None:
    """React, and see all of it arrive at a viewer of every subscriber, counted exactly."""
    settings = config.load(config.ClientSettings, registry_url=registry_url, ingest_url=ingest_url)
    from emostream import verify as verification  # noqa: PLC0415

    click.echo(asyncio.run(verification.verify(settings, subscribers, timeout_seconds)))


@main.command()
@click.option("--for", "for_seconds", envvar="FOR", type=click.IntRange(1), help="Stop after so many seconds.")
@click.option("--crowd", envvar="CROWD", type=click.IntRange(0, 50_000), default=1_000, help="Reactions per second.")
@click.option("--viewers", envvar="VIEWERS", type=click.IntRange(0, 9_000), default=500, help="Connected viewers.")
@click.option(
    "--trigger-ms", envvar="TRIGGER_MS", type=click.IntRange(250, 60_000), default=2_000, help="Time between swarms."
)
@click.option("--only", envvar="ONLY", default="", help="Tiers to start, comma-separated, instead of all.")
@click.option("--keep", envvar="KEEP", type=bool, default=False, help="Go on with the data of the last run.")
@click.option("--lan", "lan_wish", envvar="LAN", default="", help="1, or an address: serve viewers on the network too.")
def demo(  # noqa: PLR0913, PLR0917 - a parameter an option
    for_seconds: int | None, crowd: int, viewers: int, trigger_ms: int, only: str, keep: bool, lan_wish: str
) -> None:
    """Run every tier on this machine, with a simulated crowd; each option is a variable too (`FOR=60 make demo`)."""
    for tier in config.TIERS:
        config.check(tier)
    from emostream.local import demo as local_demo  # noqa: PLC0415
    from emostream.local import lan  # noqa: PLC0415
    from emostream.local.servers import HOST  # noqa: PLC0415
    from emostream.local.topology import Layout  # noqa: PLC0415

    tiers = tuple(tier.strip() for tier in only.split(",") if tier.strip())
    wishes = local_demo.Wishes(for_seconds, crowd, viewers, tiers, keep)
    public_address = lan.address(lan_wish) if lan_wish else HOST
    layout = Layout(local_demo.STATE_DIR, trigger_ms=trigger_ms, public_address=public_address)
    sys.exit(local_demo.run(wishes, layout))


@main.command("break")
@click.option("--what", envvar="WHAT", default="", help="The tier or process to kill; any by default.")
def break_(what: str) -> None:
    """Kill a process of the running demo, and tell how it comes back (`WHAT=kafka make break`)."""
    from emostream.local import breaker, demo  # noqa: PLC0415

    breaker.run(demo.STATE_DIR / "topology.json", what, secrets.choice, click.echo)


@main.command()
@click.option("--seed", envvar="SEED", type=int, default=1, help="The same seed gives the same faults.")
@click.option("--faults", envvar="FAULTS", type=click.IntRange(1), default=25, help="How many faults.")
@click.option("--burst", envvar="BURST", type=click.IntRange(1), default=8, help="How many may overlap; 1 for none.")
def chaos(seed: int, faults: int, burst: int) -> None:
    """Break every process of a topology of its own, and account for every reaction (`SEED=7 make chaos`)."""
    from pathlib import Path  # noqa: PLC0415

    from emostream.local.chaos import run as local_chaos  # noqa: PLC0415

    sys.exit(local_chaos.run(seed, faults, local_chaos.layout_in(Path("build/chaos")), burst))


@main.command()
@click.option("--seed", type=int, default=1, help="The same seed gives the same faults.")
@click.option("--count", type=click.IntRange(1), default=10, help="How many faults.")
@click.option("--kinds", default="kill,stop,inbound,outbound,disk", help="Which kinds of faults.")
@click.argument("units", type=click.File("rb"), default="-")
def faults(seed: int, count: int, kinds: str, units: BinaryIO) -> None:
    """Print as JSON which faults are to befall deployed hosts, for playbooks/chaos.yml to carry out.

    UNITS is a file with the units of each host, as JSON: {"kafka1": ["kafka.service"]}.
    """
    import msgspec  # noqa: PLC0415

    from emostream import faults as host_faults  # noqa: PLC0415

    units_by_host = msgspec.json.decode(units.read(), type=dict[str, list[str]])
    planned = host_faults.schedule(seed, count, host_faults.kinds_of(kinds), units_by_host)
    click.echo(msgspec.json.encode(planned))


@main.command()
@click.option("--for", "for_seconds", type=click.IntRange(1), help="Stop after so many seconds; else run for ever.")
@click.option("--crowd", "rate", type=click.IntRange(0, 50_000), default=1_000, help="Reactions per second.")
@click.option("--viewers", type=click.IntRange(0, 50_000), default=500, help="Connected viewers.")
@click.option("--figures-file", type=click.Path(dir_okay=False), help="Where figures are kept instead of shown.")
def crowd(for_seconds: int | None, rate: int, viewers: int, figures_file: str | None) -> None:
    """Be a simulated audience of a running topology, and account for all that it sent."""
    start_tier("crowd")
    from emostream.local import crowd as local_crowd  # noqa: PLC0415

    sys.exit(local_crowd.run(local_crowd.Plan(for_seconds, rate, viewers), figures_file))


@main.command()
@click.argument("figures_file", type=click.Path(dir_okay=False))
def account(figures_file: str) -> None:
    """Print the account that a crowd left in its FIGURES_FILE; exit 1 unless it is exact."""
    from pathlib import Path  # noqa: PLC0415

    from emostream.local import figures  # noqa: PLC0415

    found = figures.read(Path(figures_file))
    if found is None or not found.is_final:
        raise EmoStreamError(f"the crowd has left no account in {figures_file}: its log tells why it ended.")
    click.echo(figures.summary(found))
    if not found.is_exact:
        sys.exit(1)


@main.command()
@click.option("--host", help="The address to bind.")
@click.option("--port", type=int, help="The port to bind.")
def ingest(host: str | None, port: int | None) -> None:
    """Take reactions over HTTP, and answer once Kafka has them."""
    settings = config.load(config.IngestSettings, host=host, port=port)
    start_tier("ingest", port=settings.port)
    from emostream.ingest import service  # noqa: PLC0415

    service.run(settings, config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings))


@main.command()
def aggregator() -> None:
    """Make a swarm of each micro-batch of reactions, or stand by while another one does."""
    from emostream.aggregator import driver  # noqa: PLC0415

    start_tier("aggregator")
    driver.run(
        config.load(config.AggregatorSettings),
        config.load(config.KafkaSettings),
        config.load(config.ZooKeeperSettings),
        config.load(config.LogSettings),
    )


@main.group("topics")
def topics_group() -> None:
    """Make and reconcile the topics."""


@topics_group.command("apply")
@click.option("--check", is_flag=True, help="Change nothing; say what would change, and exit 1 if anything would.")
@click.option("--new-stream", is_flag=True, help="Begin a new stream of swarms, from what was not counted yet.")
def topics_apply(check: bool, new_stream: bool) -> None:
    """Make the topics of the settings, grow their partitions and set their limits; the last line is `changed=N`."""
    from emostream import topics  # noqa: PLC0415

    start_tier("topics")
    sentences = topics.apply(
        config.load(config.KafkaSettings), config.load(config.ClustersSettings), new_stream=new_stream, check=check
    )
    for sentence in sentences:
        click.echo(sentence)
    click.echo(f"changed={len(sentences)}")
    if check and sentences:
        sys.exit(1)


@main.group("broker")
def broker_group() -> None:
    """Look after a broker of Kafka."""


@broker_group.command("await")
@click.option("--address", required=True, help="Where it answers, as host:port.")
@click.option("--id", "broker_id", type=int, required=True, help="Its broker.id.")
@click.option("--data", required=True, type=click.Path(file_okay=False), help="The folder of its logs.")
@click.option("--timeout", "timeout_seconds", type=click.IntRange(1), default=60, help="Seconds to wait at most.")
def broker_await(address: str, broker_id: int, data: str, timeout_seconds: int) -> None:
    """Return once a broker that was started can write transactions; exit 1 where it must be started again."""
    from pathlib import Path  # noqa: PLC0415

    from emostream import broker  # noqa: PLC0415

    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        raise click.BadParameter(f"{address} is not host:port.", param_hint="--address")
    broker.wait_until_ready(host, int(port), broker_id, Path(data), timeout_seconds)


@main.command()
@click.option("--host", help="The address to bind.")
@click.option("--port", type=int, help="The port to bind.")
def audit(host: str | None, port: int | None) -> None:
    """Check, beside the running tiers, that each reaction is counted once; the findings are metrics."""
    settings = config.load(config.AuditSettings, host=host, port=port)
    start_tier("audit")
    from emostream.audit import auditor  # noqa: PLC0415

    auditor.run(settings, config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings))


@main.command()
@click.option("--shape", envvar="SHAPE", type=click.Choice(list(SHAPES)), default="steady", help="How it behaves.")
@click.option("--viewers", envvar="VIEWERS", type=click.IntRange(0), default=1_000, help="Viewers at the height.")
@click.option("--reactions", envvar="REACTIONS", type=click.IntRange(1), default=500, help="Per second at the height.")
@click.option("--for", "seconds", envvar="FOR", type=click.IntRange(5), default=60, help="Seconds that it stays.")
@click.option("--workers", envvar="WORKERS", type=click.IntRange(1), default=2, help="Locust processes, one a core.")
@click.option("--own", envvar="OWN", type=bool, default=False, help="Use a pipeline of its own although one runs.")
def load(  # noqa: PLR0913, PLR0917 - a parameter an option
    shape: str, viewers: int, reactions: int, seconds: int, workers: int, own: bool
) -> None:
    """Put an audience of Locust's on the pipeline that runs, or on one of its own; each option is a variable too."""
    config.check("client")
    from emostream.load import command  # noqa: PLC0415

    wishes = command.Wishes(shape, viewers, reactions, seconds, workers, own)
    sys.exit(command.run(wishes, config.load(config.ClientSettings)))


@main.command("plan")
@click.option("--viewers", type=click.IntRange(1), required=True, help="Connected at the same time.")
@click.option("--reactions-per-second", type=click.IntRange(1), required=True, help="At the height.")
def plan_(viewers: int, reactions_per_second: int) -> None:
    """Say how many hosts an audience needs, from what one core was measured to do."""
    from emostream import plan  # noqa: PLC0415

    found = plan.plan(plan.Audience(viewers, reactions_per_second))
    click.echo(f"{plan.report(found)}\n\n{plan.basis()}")


@main.command()
@click.option("--registry-url", help="The registry.")
@click.option("--ingest-url", help="Where reactions are sent.")
@click.option("--user-id", default=None, help="Who reacts; by default a name that nobody else has.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as one line of JSON instead; send nothing.")
def client(registry_url: str | None, ingest_url: str | None, user_id: str | None, as_json: bool) -> None:
    """Watch the swarms in the terminal, and react by key."""
    settings = config.load(config.ClientSettings, registry_url=registry_url, ingest_url=ingest_url)
    config.check("client")
    from emostream.client import terminal  # noqa: PLC0415

    sys.exit(terminal.run(settings, user_id, as_json=as_json))

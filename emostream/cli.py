"""The command `emostream`: one subcommand a tier, and the operator's tools beside them.

Each subcommand imports its tier only when it runs, so that no tier needs what another one needs.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import click

from emostream import config
from emostream.errors import ConfigurationError, EmoStreamError
from emostream.model import MAIN, check_event_id
from emostream.runtime import logs, output, process


class Command(click.Group):
    """Prints an operator's error as its one sentence, instead of a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        output.tolerate_encoding()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            click.echo(f"{self.name}: {error}", err=True)
            sys.exit(2)
        except EmoStreamError as error:
            click.echo(f"{self.name}: {error}", err=True)
            sys.exit(1)
        except ModuleNotFoundError as error:
            if (error.name or "emostream").startswith("emostream"):
                raise
            click.echo(
                f"{self.name}: the package {error.name} is not installed: `pip install 'emostream[spark]'` brings what "
                "the aggregator needs, and `'emostream[lab]'` what emostream-lab needs.",
                err=True,
            )
            sys.exit(1)


@click.group("emostream", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
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
    click.echo(f"{tier}: the settings are valid")


@config_group.command("reference")
def config_reference() -> None:
    """Print docs/configuration.md: every setting and metric."""
    from emostream.operate import reference  # noqa: PLC0415

    click.echo(reference.configuration_page().encode(), nl=False)


def start_tier(tier: str, **context: Any) -> None:
    """What each tier does first: refuse a bad environment, allow many open files, then log in its own name."""
    config.check(tier)
    process.raise_file_limit()
    logs.configure(config.load(config.LogSettings), tier=tier, **context)


@main.command()
@click.option("--cluster", help="The cluster whose topic is read.")
@click.option("--port", type=int, help="The port to bind.")
@click.option("--admin-port", type=int, help="The port of health and metrics; `port` + 1000 by default.")
@click.option("--name", help="Unique in the cluster; the port by default.")
def subscriber(cluster: str | None, port: int | None, admin_port: int | None, name: str | None) -> None:
    """Hold viewers' connections and send them each swarm."""
    settings = config.load(config.SubscriberSettings, cluster=cluster, port=port, admin_port=admin_port, name=name)
    start_tier("subscriber", cluster=settings.cluster, subscriber=settings.name or str(settings.port))
    from emostream.subscriber import service  # noqa: PLC0415

    service.run(
        settings,
        config.load(config.KafkaSettings),
        config.load(config.ZooKeeperSettings),
        config.load(config.TokensSettings),
    )


@main.command()
@click.option("--cluster", help="The cluster whose topic is filled.")
@click.option("--port", type=int, help="The port of health and metrics.")
def publisher(cluster: str | None, port: int | None) -> None:
    """Relay each swarm to one cluster, or stand by while another one does."""
    settings = config.load(config.PublisherSettings, cluster=cluster, admin_port=port)
    start_tier("publisher", cluster=settings.cluster)
    from emostream.publisher import service  # noqa: PLC0415

    service.run(settings, config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings))


@main.command()
@click.option("--host", help="The address to bind.")
@click.option("--port", type=int, help="The port to bind.")
@click.option("--admin-port", type=int, help="The port of health, metrics and the live topology.")
def registry(host: str | None, port: int | None, admin_port: int | None) -> None:
    """Tell viewers which subscriber to connect to, and serve the web page."""
    settings = config.load(config.RegistrySettings, host=host, port=port, admin_port=admin_port)
    start_tier("registry")
    from emostream.registry import service  # noqa: PLC0415

    service.run(settings, config.load(config.ZooKeeperSettings), config.load(config.TokensSettings))


@main.command()
@click.option("--registry-admin-url", help="The registry's admin listener.")
@click.option("--registry-url", help="Ask the public listener instead, which gives no addresses of services.")
def status(registry_admin_url: str | None, registry_url: str | None) -> None:
    """Show every live process, and what is missing; exit 1 where something is."""
    settings = config.load(config.ClientSettings, registry_admin_url=registry_admin_url, registry_url=registry_url)
    start_tier("status")
    from emostream.operate import status as registry_status  # noqa: PLC0415
    from emostream.runtime import tls  # noqa: PLC0415

    field, context = ("registry_url", None) if registry_url else ("registry_admin_url", tls.client_context())
    view = asyncio.run(registry_status.fetch(getattr(settings, field), settings.variable(field), context))
    click.echo(registry_status.table(view))
    if problems := registry_status.problems(view, config.load(config.ClustersSettings).names):
        click.echo("\n" + "\n".join(problems))
        sys.exit(1)


@main.command("support-bundle")
@click.argument("archive", type=click.Path(dir_okay=False))
@click.option("--registry-admin-url", help="The registry's admin listener.")
@click.option(
    "--add", type=click.Path(exists=True, file_okay=False), help="Folder with files to pack too, such as logs."
)
@click.option(
    "--secrets",
    type=click.Path(exists=True, file_okay=False),
    help="Folder with secrets: none of their lines is packed.",
)
def support_bundle(archive: str, registry_admin_url: str | None, add: str | None, secrets: str | None) -> None:
    """Pack the status, the topology and the metrics of all processes into ARCHIVE, a tar.gz without secrets."""
    from pathlib import Path  # noqa: PLC0415

    from emostream.operate import bundle  # noqa: PLC0415

    start_tier("status")
    settings = config.load(config.ClientSettings, registry_admin_url=registry_admin_url)
    texts = asyncio.run(bundle.look(settings, config.load(config.ClustersSettings).names))
    texts |= bundle.texts_below(Path(add)) if add else {}
    bundle.pack(Path(archive), texts, bundle.secrets_below(Path(secrets)) if secrets else ())
    click.echo(f"{archive} holds {len(texts)} files; look at them before you give it away.")


def _event_id(_context: click.Context, _option: click.Parameter, value: str) -> str:
    check_event_id(value)
    return value


@main.command()
@click.option("--registry-url", help="The registry.")
@click.option("--ingest-url", help="Where reactions are sent.")
@click.option(
    "--event", default=MAIN, callback=_event_id, help="The event to react to; nobody else may do so meanwhile."
)
@click.option("--subscribers", type=click.IntRange(1), required=True, help="How many subscribers there should be.")
@click.option("--timeout", "timeout_seconds", type=click.IntRange(1), default=60, help="Seconds to wait at most.")
def verify(
    registry_url: str | None, ingest_url: str | None, event: str, subscribers: int, timeout_seconds: int
) -> None:
    """React, and see all of it arrive at a viewer of every subscriber, counted exactly."""
    settings = config.load(config.ClientSettings, registry_url=registry_url, ingest_url=ingest_url)
    from emostream.operate import verify as verification  # noqa: PLC0415

    click.echo(asyncio.run(verification.verify(settings, event, subscribers, timeout_seconds)))


@main.command()
@click.argument("request_id")
@click.option(
    "--minutes", type=click.IntRange(1), help="How far to look back, if the id does not begin with the request's time."
)
def trace(request_id: str, minutes: int | None) -> None:
    """Tell which record holds the reactions of a request, and which swarm has counted them; exit 1 where none has.

    REQUEST_ID is the header X-Request-Id of its answer.
    """
    import time  # noqa: PLC0415

    from emostream.operate import trace as tracing  # noqa: PLC0415

    start_tier("trace")
    for line in tracing.trace(config.load(config.KafkaSettings), request_id, time.time_ns() // 1_000_000, minutes):
        click.echo(line)


@main.command()
@click.option("--host", help="The address to bind.")
@click.option("--port", type=int, help="The port to bind.")
@click.option("--admin-port", type=int, help="The port of health and metrics.")
def ingest(host: str | None, port: int | None, admin_port: int | None) -> None:
    """Take reactions over HTTP, and answer once Kafka has them."""
    settings = config.load(config.IngestSettings, host=host, port=port, admin_port=admin_port)
    start_tier("ingest", port=settings.port)
    from emostream.ingest import service  # noqa: PLC0415

    service.run(
        settings,
        config.load(config.KafkaSettings),
        config.load(config.ZooKeeperSettings),
        config.load(config.TokensSettings),
    )


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


def tell_changes(sentences: Sequence[str], *, check: bool) -> None:
    for sentence in sentences:
        click.echo(sentence)
    click.echo(f"changed={len(sentences)}")
    if check and sentences:
        sys.exit(1)


@main.group("topics")
def topics_group() -> None:
    """Make and reconcile the topics."""


@topics_group.command("apply")
@click.option("--check", is_flag=True, help="Change nothing; say what would change, and exit 1 if anything would.")
@click.option("--new-stream", is_flag=True, help="Begin a new stream of swarms, from what was not counted yet.")
@click.option(
    "--totals-from",
    type=click.File("rb"),
    help="With --new-stream, on new topics: go on with the totals and the events of this file of `emostream backup`.",
)
@click.option(
    "--without", type=int, multiple=True, metavar="ID", help="Leave no copies on this broker, before it is taken out."
)
def topics_apply(check: bool, new_stream: bool, totals_from: BinaryIO | None, without: tuple[int, ...]) -> None:
    """Make the topics of the settings, grow their partitions, spread their copies over the brokers, set their limits.

    The last line is `changed=N`.
    """
    from emostream.operate import backup, topics  # noqa: PLC0415

    start_tier("topics")
    restore = None
    if totals_from is not None:
        if not new_stream:
            raise click.UsageError("--totals-from needs --new-stream.")
        restore = topics.Restore(backup.read(totals_from.read()), config.load(config.ZooKeeperSettings))
    sentences = topics.apply(
        config.load(config.KafkaSettings),
        config.load(config.ClustersSettings),
        without=without,
        new_stream=new_stream,
        restore=restore,
        check=check,
    )
    tell_changes(sentences, check=check)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
def backup(file: str) -> None:
    """Write the totals of every event, and the table of events, to FILE, from which `topics apply` restores them.

    Nothing has to stop for it. What is accepted later is not in it.
    """
    from pathlib import Path  # noqa: PLC0415

    from emostream.operate import backup as backups  # noqa: PLC0415
    from emostream.operate import topics  # noqa: PLC0415

    start_tier("backup")
    kafka = config.load(config.KafkaSettings)
    infos = topics.describe(kafka, config.load(config.ClustersSettings))
    taken, waiting = backups.take(config.load(config.ZooKeeperSettings), kafka, infos)
    backups.write(taken, Path(file))
    click.echo(f"{file} holds {taken}. It lacks {waiting:,} records of reactions, which are not counted yet.")


@main.group("acls")
def acls_group() -> None:
    """Say who may do what in Kafka and ZooKeeper, where they know their clients by certificates."""


@acls_group.command("table")
def acls_table() -> None:
    """Print the rights of each tier, as docs/security.md shows them."""
    from emostream.operate import reference  # noqa: PLC0415

    click.echo(reference.rights_tables().encode(), nl=False)


@acls_group.command("apply")
@click.option("--check", is_flag=True, help="Change nothing; say what would change, and exit 1 if anything would.")
def acls_apply(check: bool) -> None:
    """Give each tier the rights of docs/security.md, and no others; the last line is `changed=N`."""
    from emostream.operate import acls  # noqa: PLC0415

    start_tier("acls")
    kafka, zookeeper = config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings)
    tell_changes(acls.apply(kafka, zookeeper, config.load(config.ClustersSettings), check=check), check=check)


@main.group("events")
def events_group() -> None:
    """Open and close events, each with counts, a palette and an end of its own."""


def _operator(timeout_seconds: float) -> Any:
    from emostream.operate import events  # noqa: PLC0415

    start_tier("events")
    return events.operator(config.load(config.ZooKeeperSettings), config.load(config.KafkaSettings), timeout_seconds)


_TIMEOUT = click.option(
    "--timeout", "timeout_seconds", type=click.IntRange(1), default=60, help="Seconds to wait at most."
)


@events_group.command("open")
@click.argument("event")
@click.option("--title", help="What viewers are shown; a known event keeps its own.")
@click.option("--palette", help="Allowed emoji, comma-separated, or `default`; a known event keeps its own.")
@click.option("--listed/--unlisted", default=None, help="Whether viewers are told that it is there.")
@_TIMEOUT
def events_open(event: str, title: str | None, palette: str | None, listed: bool | None, timeout_seconds: int) -> None:
    """Open EVENT, or change what an open one is; return once every process has applied it."""
    from emostream.operate.events import EventOptions  # noqa: PLC0415

    words = None if palette is None else [word.strip() for word in palette.split(",") if word.strip()]
    with _operator(timeout_seconds) as operator:
        operator.open(event, EventOptions(title, words, listed))
    click.echo(f"{event} is open")


@events_group.command("close")
@click.argument("event")
@_TIMEOUT
def events_close(event: str, timeout_seconds: int) -> None:
    """Close EVENT; return once all that was taken for it is counted, and its viewers are told of the end."""
    with _operator(timeout_seconds) as operator:
        operator.close(event)
    click.echo(f"{event} is closed")


@events_group.command("archive")
@click.argument("event")
@click.option("--force", is_flag=True, help="Also while Kafka holds its reactions: a late one is a dead letter then.")
@_TIMEOUT
def events_archive(event: str, force: bool, timeout_seconds: int) -> None:
    """Take EVENT, which is closed, out of the records; its totals are gone."""
    with _operator(timeout_seconds) as operator:
        operator.archive(event, force=force)
    click.echo(f"{event} is archived")


@events_group.command("apply")
@click.argument("file", type=click.File("rb"))
@click.option("--check", is_flag=True, help="Change nothing; say what would change, and exit 1 if anything would.")
@_TIMEOUT
def events_apply(file: BinaryIO, check: bool, timeout_seconds: int) -> None:
    """Open and close events as the JSON list in FILE says (`-`: standard input); the last line is `changed=N`."""
    from emostream.operate import events  # noqa: PLC0415

    wanted = events.read_list(file.read())
    with _operator(timeout_seconds) as operator:
        sentences = events.apply(operator, wanted, check=check)
    tell_changes(sentences, check=check)


@events_group.command("list")
def events_list() -> None:
    """Print one line for each event."""
    from emostream.operate import events  # noqa: PLC0415

    with _operator(1) as operator:
        click.echo("\n".join(events.lines(operator.table())))


@events_group.command("show")
@click.argument("event")
def events_show(event: str) -> None:
    """Print the definition of EVENT as JSON."""
    from emostream.operate import events  # noqa: PLC0415

    with _operator(1) as operator:
        click.echo(events.describe(event, operator.table()))


@main.group("tokens")
def tokens_group() -> None:
    """Sign tokens, which say who may react and watch."""


@tokens_group.command("issue")
@click.option("--user", required=True, help="The user's id.")
@click.option("--event", "events", multiple=True, help="An event that it is for; may be repeated; all by default.")
@click.option(
    "--may",
    type=click.Choice(["react", "watch", "relay"]),
    multiple=True,
    default=("react", "watch"),
    help="A right that it gives; may be repeated. `relay`: to send reactions of other users.",
)
@click.option("--for", "seconds", type=int, default=3_600, help="Seconds until it expires.")
@click.option(
    "--private-key",
    type=click.File("rb"),
    help="PEM file of the key that signs, in place of the secret of the settings.",
)
@click.option("--key-id", help="The `kid` of that key in the JSON Web Key Set.")
def tokens_issue(  # noqa: PLR0913, PLR0917 - a parameter an option
    user: str, events: Sequence[str], may: Sequence[str], seconds: int, private_key: BinaryIO | None, key_id: str | None
) -> None:
    """Print a token of a user, signed with the first secret of EMOSTREAM_TOKENS_SECRET_FILE."""
    import time  # noqa: PLC0415

    from emostream.tokens import gate, keys, verifier  # noqa: PLC0415

    config.check("tokens")
    settings = config.load(config.TokensSettings)
    if private_key is not None:
        key = keys.of_private_key(private_key.read(), key_id)
    elif settings.secret_file:
        key = gate.read_keys(settings)[0]
    else:
        raise ConfigurationError(f"set {settings.variable('secret_file')}, or give --private-key")
    token = verifier.issue(
        key,
        user,
        audience=settings.audience,
        expires=time.time() + seconds,
        events=events or (verifier.ANY_EVENT,),
        may=may,
    )
    click.echo(token)


@main.group("monitoring")
def monitoring_group() -> None:
    """What Prometheus and Grafana show of EmoStream."""


@monitoring_group.command("grafana")
def monitoring_grafana() -> None:
    """Print a dashboard for Grafana, with the graphs of our own page."""
    from emostream.monitoring import grafana  # noqa: PLC0415

    click.echo(grafana.dashboard(), nl=False)


@main.group("broker")
def broker_group() -> None:
    """Look after a broker of Kafka."""


@broker_group.command("await")
@click.option("--address", required=True, help="The broker's address, host:port.")
@click.option("--id", "broker_id", type=int, required=True, help="Its broker.id.")
@click.option("--data", required=True, type=click.Path(file_okay=False), help="The folder of its data.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.IntRange(1),
    default=60,
    help="Seconds for which it may answer without it.",
)
@click.option("--pid", envvar="MAINPID", type=int, default=0, help="Its process; systemd's variable by default.")
def broker_await(address: str, broker_id: int, data: str, timeout_seconds: int, pid: int) -> None:
    """Return once a broker that was started can write transactions; exit 1 where it must be started again."""
    from pathlib import Path  # noqa: PLC0415

    from emostream.operate import broker  # noqa: PLC0415

    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        raise click.BadParameter(f"{address} is not host:port.", param_hint="--address")
    try:
        broker.wait_until_ready(host, int(port), broker_id, Path(data), timeout_seconds, pid)
    except broker.BrokerError as error:
        raise EmoStreamError(str(error)) from None


@main.command()
@click.option("--host", help="The address to bind.")
@click.option("--port", type=int, help="The port to bind.")
def audit(host: str | None, port: int | None) -> None:
    """Check, beside the running tiers, that each reaction is counted once; the findings are metrics."""
    settings = config.load(config.AuditSettings, admin_host=host, admin_port=port)
    start_tier("audit")
    from emostream.audit import auditor  # noqa: PLC0415

    auditor.run(settings, config.load(config.KafkaSettings), config.load(config.ZooKeeperSettings))


@main.command()
@click.option("--registry-url", help="The registry.")
@click.option("--ingest-url", help="Where reactions are sent.")
@click.option("--port", type=int, help="The port of health and metrics.")
def canary(registry_url: str | None, ingest_url: str | None, port: int | None) -> None:
    """React now and then to an event of its own, and time how long each cluster takes to show it."""
    settings = config.load(config.CanarySettings, admin_port=port)
    client = config.load(config.ClientSettings, registry_url=registry_url, ingest_url=ingest_url)
    start_tier("canary")
    from emostream.canary import service  # noqa: PLC0415

    service.run(
        settings,
        service.Surroundings(
            client,
            config.load(config.ClustersSettings),
            config.load(config.KafkaSettings),
            config.load(config.ZooKeeperSettings),
        ),
    )


@main.command()
@click.option("--registry-url", help="The registry.")
@click.option("--ingest-url", help="Where reactions are sent.")
@click.option("--user-id", default=None, help="Your user id; a unique one by default.")
@click.option("--event", default=MAIN, show_default=True, callback=_event_id, help="The event to watch, until it ends.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as one line of JSON instead; send nothing.")
def client(registry_url: str | None, ingest_url: str | None, user_id: str | None, event: str, as_json: bool) -> None:
    """Watch the swarms of an event in the terminal, and react by key."""
    settings = config.load(config.ClientSettings, registry_url=registry_url, ingest_url=ingest_url)
    config.check("client")
    from emostream.client import terminal  # noqa: PLC0415

    sys.exit(terminal.run(settings, user_id, event, as_json=as_json))

"""The command `emostream`: one subcommand a tier, and the operator's tools beside them.

Each subcommand imports its tier only when it runs, so that no tier needs what another one needs.
"""

import sys
from typing import Any

import click

from emostream import config, logs
from emostream.errors import ConfigurationError, EmoStreamError


class Command(click.Group):
    """Prints an operator's error as its one sentence, instead of a traceback."""

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

"""Plans the faults for the hosts of a deployment from a seed. Pure."""

import enum
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from emostream.errors import EmoStreamError

_BROKER = "kafka.service"
_Card = TypeVar("_Card")

Victim = tuple[str, str]
"""A host and one of its units. The unit is empty if the fault affects the whole host."""


class Kind(enum.StrEnum):
    """A kind of fault. playbooks/files/fault.sh carries it out."""

    KILL = "kill"
    """Send SIGKILL to all processes of a unit."""
    STOP = "stop"
    """Send SIGSTOP, and send SIGCONT after all time-outs of the other processes have expired."""
    INBOUND = "inbound"
    """Block all traffic to a host."""
    OUTBOUND = "outbound"
    """Block all traffic from a host."""
    DISK = "disk"
    """Fill the disk of a broker."""


_MEANINGS = {
    Kind.KILL: "kill {unit} on {host}",
    Kind.STOP: "stop {unit} on {host}",
    Kind.INBOUND: "cut {host} off from what others send",
    Kind.OUTBOUND: "cut others off from what {host} sends",
    Kind.DISK: "fill the disk of the broker on {host}",
}


class Fault(msgspec.Struct, frozen=True):
    """A fault and its description in `text`. `unit` is empty if the fault affects the whole host."""

    kind: Kind
    host: str
    unit: str
    text: str


def kinds_of(text: str) -> list[Kind]:
    """Parse a comma-separated list of kinds. Raises EmoStreamError if the list is empty or has an unknown kind."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [kind.value for kind in Kind]
    if not names or not set(names) <= set(known):
        raise EmoStreamError(f"there is no list of faults {text!r}: name some of {', '.join(known)}.")
    return [kind for kind in Kind if kind.value in names]


def schedule(seed: int, count: int, kinds: Sequence[Kind], units: Mapping[str, Sequence[str]]) -> list[Fault]:
    """Plan the faults of a run. `units` maps each host to its units.

    Every kind comes once before any kind comes again. Within a kind, every tier or host is hit once before any is hit
    again. Raises EmoStreamError if no host or unit can be a victim of a kind.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
    decks = {kind: _dealt(chance, _candidates(kind, units)) for kind in kinds}
    return [
        _fault(kind, chance.choice(next(decks[kind]))) for kind in itertools.islice(_dealt(chance, list(kinds)), count)
    ]


def _dealt(chance: random.Random, cards: Sequence[_Card]) -> Iterator[_Card]:
    """Yield the cards in random order without end. Each card comes once before any card comes again."""
    while True:
        yield from chance.sample(cards, len(cards))


def _candidates(kind: Kind, units: Mapping[str, Sequence[str]]) -> list[list[Victim]]:
    """Return the possible victims of a kind, grouped by tier or by host. One victim of a group is hit at a time."""
    if kind in {Kind.KILL, Kind.STOP}:
        found = _by_tier(units)
    else:
        hosts = [host for host in sorted(units) if (_BROKER in units[host] if kind is Kind.DISK else units[host])]
        found = [[(host, "")] for host in hosts]
    if not found:
        raise EmoStreamError(f"no host runs what could be a victim of the fault {kind}: deploy with site.yml first.")
    return found


def _by_tier(units: Mapping[str, Sequence[str]]) -> list[list[Victim]]:
    names = sorted((name.removesuffix(".service"), host) for host in units for name in units[host])
    tiers = itertools.groupby(names, lambda name_and_host: name_and_host[0].partition("@")[0])
    return [[(host, name) for name, host in members] for _, members in tiers]


def _fault(kind: Kind, victim: Victim) -> Fault:
    host, unit = victim
    return Fault(kind, host, unit, _MEANINGS[kind].format(host=host, unit=unit))

"""Which faults befall the hosts of a deployment: decided by the seed alone. Pure."""

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
"""A host, and a unit of it, or an empty text where the fault is the whole host's."""


class Kind(enum.StrEnum):
    """What is done to a victim; playbooks/files/fault.sh does it."""

    KILL = "kill"
    """SIGKILL for all processes of a unit."""
    STOP = "stop"
    """SIGSTOP, and SIGCONT when whoever waited has given up."""
    INBOUND = "inbound"
    """Nothing reaches a host."""
    OUTBOUND = "outbound"
    """Nothing leaves a host."""
    DISK = "disk"
    """A broker's disk is full."""


_MEANINGS = {
    Kind.KILL: "kill {unit} on {host}",
    Kind.STOP: "stop {unit} on {host}",
    Kind.INBOUND: "cut {host} off from what others send",
    Kind.OUTBOUND: "cut others off from what {host} sends",
    Kind.DISK: "fill the disk of the broker on {host}",
}


class Fault(msgspec.Struct, frozen=True):
    """A fault, and how it reads; `unit` is empty where it befalls the whole host."""

    kind: Kind
    host: str
    unit: str
    text: str


def kinds_of(text: str) -> list[Kind]:
    """The kinds of a comma-separated list. Raises EmoStreamError where it has none, or one that is unknown."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [kind.value for kind in Kind]
    if not names or not set(names) <= set(known):
        raise EmoStreamError(f"there is no list of faults {text!r}: name some of {', '.join(known)}.")
    return [kind for kind in Kind if kind.value in names]


def schedule(seed: int, count: int, kinds: Sequence[Kind], units: Mapping[str, Sequence[str]]) -> list[Fault]:
    """The faults of a run, on the units of each host. Every kind comes once before any comes again, and so does every
    tier or host as a victim of one kind.

    Raises EmoStreamError where there is nobody whom a kind could befall.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
    decks = {kind: _dealt(chance, _candidates(kind, units)) for kind in kinds}
    return [
        _fault(kind, chance.choice(next(decks[kind]))) for kind in itertools.islice(_dealt(chance, list(kinds)), count)
    ]


def _dealt(chance: random.Random, cards: Sequence[_Card]) -> Iterator[_Card]:
    """Deal the cards for ever, each once before any comes again."""
    while True:
        yield from chance.sample(cards, len(cards))


def _candidates(kind: Kind, units: Mapping[str, Sequence[str]]) -> list[list[Victim]]:
    """The victims of a kind, by tier or host: each of these is hit in turn, through any one of its victims."""
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

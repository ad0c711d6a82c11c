"""A simulation of several events that open, close and are archived, around the pure modules of the production code.

`events.table` decides what an operator may do, `ingest.events` which reactions are taken, and `events.steps` what the
aggregator does. The simulation provides ZooKeeper, Kafka and the order of things. Each protection can be switched off.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from emostream.events.steps import LeaderSteps, View
from emostream.events.table import Definition, Table
from emostream.ingest.events import Events
from emostream.model import EventPart, Swarm, message_id
from emostream.swarms.rules import (
    Batch,
    Compression,
    Group,
    ReactionsTopic,
    changed_swarm,
    first_swarm,
    next_swarm,
    progress_of,
    starting_offsets,
    unknown_events,
)

PARTITIONS = (0, 1)
EVENTS = ("final", "semi-final")
WISH = Definition("A match", ("🔥",), "opening", "0" * 11)
# The state that an event has in the end, by the state that an operator gave it.
WISHES = {"opening": "open", "closing": "closed", "archiving": "gone"}
COMPRESSION = Compression(1_000, "ceil")


@dataclass(frozen=True)
class Protections:
    """The protections that keep the promise about events. Each one can be switched off."""

    confirmation: bool = True
    """The aggregator takes the ends of the log only when all registered ingests have confirmed the close."""
    ends_reached: bool = True
    """An event ends only when the aggregator has counted up to those ends."""
    registered_first: bool = True
    """An ingest takes reactions to events only from a table that it read while it was registered."""
    opening_waits: bool = True
    """An ingest takes reactions to an event only after the record that opens the event."""
    proof: bool = True
    """An aggregator changes the table only after a record that it wrote since it read the table."""
    versions: bool = True
    """ZooKeeper refuses to replace a table that was changed after it was read."""


@dataclass(eq=False)
class Reaction:
    """One reaction: its event, the opening for which it was taken, and the ingest that took it."""

    event: str
    stream: str
    ingest: "Ingest"


@dataclass
class World:
    """ZooKeeper's table, the topics `reactions` and `swarms`, and all ingests that were ever started."""

    protections: Protections
    now_ms: int = 0
    table: Table = field(default_factory=dict)
    version: int = 0
    reactions: dict[int, list[Reaction]] = field(default_factory=lambda: {number: [] for number in PARTITIONS})
    epoch: int = 0
    ingests: list["Ingest"] = field(default_factory=list)
    archived: set[str] = field(default_factory=set)
    wishes: dict[str, str] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    dead: int = 0

    def __post_init__(self) -> None:
        self.swarms = [first_swarm("0", self.describe(), None)]

    @property
    def last(self) -> Swarm:
        return self.swarms[-1]

    def view(self) -> View:
        return View(self.table, self.version)

    def describe(self) -> ReactionsTopic:
        ends = {number: len(log) for number, log in self.reactions.items()}
        return ReactionsTopic("topic", dict.fromkeys(self.reactions, 0), ends)

    def operate(self, change: Callable[[Table], Table]) -> None:
        """Let an operator change the table, as the command does: by the table as it is now."""
        changed = change(self.table)
        asked = {event: each.state for event, each in changed.items() if self.table.get(event) != each}
        self.wishes.update({event: WISHES[state] for event, state in asked.items() if state in WISHES})
        self.replace_table(changed, self.version)
        self.archived |= {each.stream for each in self.table.values() if each.state == "archiving"}

    def replace_table(self, table: Table, version: int) -> bool:
        if self.protections.versions and version != self.version:
            return False
        self.table, self.version = table, self.version + 1
        return True

    def append(self, swarm: Swarm, epoch: int) -> bool:
        """Append a record, unless a later aggregator has fenced this one. Check that the promise is kept."""
        if epoch != self.epoch:
            return False
        before = self.last
        assert swarm.sequence == before.sequence + 1
        new = self._between(progress_of(before).offsets, progress_of(swarm).offsets)
        expected = Counter(each.event for each in new if each.event in before.parts)
        for reaction in new:
            if reaction.event not in before.parts:
                assert reaction.stream in self.archived, f"{reaction.event} is set aside, but was never archived"
                self.dead += 1
        for event, part in swarm.parts.items():
            assert sum(part.counts.values()) == expected.pop(event, 0), f"{event} is not counted once"
            self._check_messages(before.parts.get(event), part, swarm)
            self._check_end(event, before.parts.get(event), part, swarm)
        assert not expected, "reactions to an event are lost"
        self.counted.update(each.event for each in new if each.event in before.parts)
        self.swarms.append(swarm)
        return True

    def _check_messages(self, before: EventPart | None, part: EventPart, swarm: Swarm) -> None:
        """Check that the sequences of an event's viewers are contiguous in each stream, and its totals the sum."""
        if before is None or before.stream != part.stream:
            assert before is None or (before.ended and part.stream > before.stream), "an opening took over another one"
            assert (part.sequence, part.totals) == (0, {})
            return
        seen = [each.id for each in part.messages(swarm.window)]
        expected = [message_id(part.stream, number) for number in range(before.sequence + 1, part.sequence + 1)]
        assert [name for name in seen if name != message_id(before.stream, before.sequence)] == expected
        assert Counter(part.totals) == Counter(before.totals) + Counter(part.counts)

    def _check_end(self, event: str, before: EventPart | None, part: EventPart, swarm: Swarm) -> None:
        if not part.ended or before is None or before.ended:
            return
        offsets = progress_of(swarm).offsets
        late = [each for number in PARTITIONS for each in self.reactions[number][offsets[str(number)] :]]
        late += [each for ingest in self.ingests for each in ingest.in_flight]
        for reaction in late:
            faithful = not reaction.ingest.was_cut_off
            assert not (faithful and reaction.stream == part.stream), f"{event} ended before all of it was counted"

    def _between(self, start: dict[str, int], end: dict[str, int]) -> list[Reaction]:
        return [
            reaction
            for number, log in self.reactions.items()
            for reaction in log[start[str(number)] : end[str(number)]]
        ]


class Ingest:
    """One ingest. `was_cut_off` is whether it has ever lost its session in ZooKeeper."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.events = Events()
        self.registration: dict[str, str] | None = None
        self.in_flight: list[Reaction] = []
        self.was_cut_off = False
        world.ingests.append(self)

    def register(self) -> None:
        """Register, or write what is confirmed now into the registration."""
        events_in_flight = {reaction.event for reaction in self.in_flight}
        self.registration = self.events.confirmed(events_in_flight.__contains__)

    def see(self) -> None:
        """Read the table."""
        protections = self._world.protections
        self.events.table = self._world.table
        if not protections.opening_waits:
            self.events.table = {
                event: msgspec.structs.replace(each, state="open") if each.state == "opening" else each
                for event, each in self._world.table.items()
            }
        self.events.is_current = True
        self.events.is_registered |= self.registration is not None or not protections.registered_first

    def take(self, event: str) -> None:
        definition = self.events.find(event)
        if isinstance(definition, Definition):
            part = self._world.last.parts.get(event)
            is_over = part is not None and part.stream == definition.stream and part.ended
            assert self.was_cut_off or not is_over, f"a reaction to {event} is taken after its end"
            self.in_flight.append(Reaction(event, definition.stream, self))

    def land(self, partition: int) -> None:
        """Let the oldest reaction in flight arrive in Kafka. It is answered with 202."""
        self._world.reactions[partition].append(self.in_flight.pop(0))

    def cut_off(self) -> None:
        """End its session: the registration is gone, and the table is not followed. It goes on with what it knows."""
        self.registration, self.was_cut_off = None, True
        self.events.is_current = False


class Aggregator:
    """One aggregator, during its term. Several may believe that they lead."""

    def __init__(self, world: World) -> None:
        world.epoch += 1
        self._world = world
        self._epoch = world.epoch
        self._last = world.last
        self._position = starting_offsets(world.last, world.describe())
        self._steps = LeaderSteps()
        self._view = world.view()
        self.has_ended = False

    def see(self) -> None:
        """Read the table."""
        self._view = self._world.view()

    def ask_ingests(self) -> None:
        """Read the registrations of the ingests, and take the ends of the log if all have confirmed."""
        unconfirmed = self._steps.unconfirmed(self._view, self._last.parts)
        seen = [each.registration for each in self._world.ingests if each.registration is not None]
        if not self._world.protections.confirmation:
            seen = []
        self._steps.take_ends(self._steps.confirm(unconfirmed, seen), self._world.describe().ends)

    def count(self, records: tuple[int, ...]) -> None:
        """Count this many records of each partition."""
        ends, groups = {}, []
        for number, log in self._world.reactions.items():
            start = self._position[number]
            ends[number] = min(start + records[number], len(log))
            groups += [Group(number, "🔥", 1, 1, at, at, log[at].event) for at in range(start, ends[number])]
        unknown = unknown_events(self._last, groups)
        dead = sum(group.event in unknown for group in groups)
        swarm = next_swarm(self._last, Batch(ends, groups, dead), self._world.now_ms, 10, COMPRESSION)
        if swarm.progress != self._last.progress and self._write(swarm):
            self._position = ends

    def change(self) -> None:
        """Write what the table asks for."""
        offsets = progress_of(self._last).offsets
        if not self._world.protections.ends_reached:
            offsets = dict.fromkeys(offsets, 10**6)
        changes = self._steps.changes(self._view, self._last.parts, offsets, self._world.now_ms)
        if changes is not None and (changes or self._world.protections.proof):
            if not self._write(changed_swarm(self._last, changes, self._world.now_ms, 10)):
                return
        elif self._world.protections.proof:
            return
        self._steps.wrote(self._view)

    def tell(self) -> None:
        """Tell in the table what the last record shows."""
        table = self._steps.table_to_tell(self._view, self._last.parts, self._world.now_ms)
        if table is not None:
            self._world.replace_table(table, self._view.version)

    def _write(self, swarm: Swarm) -> bool:
        if not self._world.append(swarm, self._epoch):
            self.has_ended = True
            return False
        self._last = swarm
        return True


def without(protection: str) -> Protections:
    return replace(Protections(), **{protection: False})

"""Searches for sequences of faults that break the promise about events, as `test_protocol.py` does for `main`.

Each reaction that was taken counts once, or is a dead letter of an archived event. An event ends only after all that
the ingests took for it, unless an ingest was cut off. Without any one of the protections, the search finds a fault.
"""

import random

import pytest

from emostream.errors import EmoStreamError
from emostream.events import table as events
from tests.unit.protocol.events import EVENTS, PARTITIONS, WISH, Aggregator, Ingest, Protections, World, without

ALL = (10**6, 10**6)
STEPS = 60


class Course:
    """Operators open, close and archive two events. Ingests and aggregators die, sleep, and lose ZooKeeper.

    The seed chooses the steps. This is some ten times as fast as hypothesis, and a course needs many steps.
    """

    def __init__(self, protections: Protections, seed: int) -> None:
        self.world = World(protections)
        self.random = random.Random(seed)
        self.aggregators = [Aggregator(self.world)]
        self.ingests = [Ingest(self.world)]
        # Begin without a fault: one event is open, and one ingest takes reactions to it.
        self.ingests[0].register()
        self.world.operate(lambda table: events.opened(table, EVENTS[0], WISH, 0))
        settle(self.aggregators[0])
        self.ingests[0].see()

    def run(self) -> None:
        """Raises AssertionError if the promise is broken."""
        actions = [self.operate, *[self.use_ingest] * 6, *[self.advance] * 5, self.start, self.cut_off]
        for _ in range(STEPS):
            self.random.choice(actions)()
        self.end()

    def operate(self) -> None:
        self.world.now_ms += 1
        now_ms, event = self.world.now_ms, self.random.choice(EVENTS)
        changes = [
            lambda table: events.opened(table, event, WISH, now_ms),
            lambda table: events.closed(table, event),
            lambda table: events.closed(table, event),
            lambda table: events.archived(table, event, now_ms, 0),
        ]
        try:
            self.world.operate(self.random.choice(changes))
        except EmoStreamError:
            return

    def use_ingest(self) -> None:
        ingest = self.random.choice(self.ingests)
        step = self.random.choice(["see", "take", "take", "land", "land", "register"])
        if step == "take":
            ingest.take(self.random.choice(EVENTS))
        elif step == "land" and ingest.in_flight:
            ingest.land(self.random.choice(PARTITIONS))
        elif step == "see" and ingest.registration is not None:
            ingest.see()
        elif step == "register":
            ingest.register()

    def advance(self) -> None:
        if not self.aggregators:
            return
        aggregator = self.random.choice(self.aggregators)
        self.random.choice(
            [
                aggregator.see,
                aggregator.ask_ingests,
                lambda: aggregator.count(tuple(self.random.randint(0, 3) for _ in PARTITIONS)),
                aggregator.change,
                aggregator.tell,
            ]
        )()
        self.aggregators = [each for each in self.aggregators if not each.has_ended]

    def start(self) -> None:
        if len(self.aggregators) < 3 and self.random.random() < 0.5:
            self.aggregators.append(Aggregator(self.world))
        elif len(self.ingests) < 3:
            self.ingests.append(Ingest(self.world))
            if not self.world.protections.registered_first:
                self.ingests[-1].see()

    def cut_off(self) -> None:
        ingest = self.random.choice(self.ingests)
        if ingest.registration is not None and self.random.random() < 0.3:
            ingest.cut_off()

    def end(self) -> None:
        """Check that all is counted and settled once the faults have stopped."""
        last = Aggregator(self.world)
        for _ in range(2):
            for ingest in self.ingests:
                while ingest.in_flight:
                    ingest.land(0)
                ingest.register()
                ingest.see()
                ingest.register()
            settle(last)
        taken = sum(map(len, self.world.reactions.values()))
        assert self.world.counted.total() + self.world.dead == taken, "not every reaction is counted once"
        assert self.world.last.parts.keys() == self.world.table.keys(), "record and table hold different events"
        for event, wish in self.world.wishes.items():
            known = self.world.table.get(event)
            assert (known.state if known else "gone") == wish, f"{event} is not as the operator wished"


def settle(aggregator: Aggregator) -> None:
    """Let one aggregator do all that is due, without a fault."""
    for _ in range(3):
        aggregator.see()
        aggregator.ask_ingests()
        aggregator.count(ALL)
        aggregator.change()
        aggregator.tell()


def search(protections: Protections) -> None:
    """Try many courses; they are the same in each run. Raises AssertionError if one breaks the promise."""
    for seed in range(1_000):
        Course(protections, seed).run()


def test_each_reaction_counts_once_and_an_event_ends_after_all_of_it() -> None:
    search(Protections())


@pytest.mark.parametrize(
    "protection",
    ["confirmation", "ends_reached", "registered_first", "opening_waits", "versions"],
)
def test_the_search_finds_a_course_that_breaks_the_promise_without_a_protection(protection: str) -> None:
    with pytest.raises(AssertionError):
        search(without(protection))


def replaced_aggregator_tells_of_an_event_that_it_never_saw(protections: Protections) -> None:
    world = World(protections)
    old, new = Aggregator(world), Aggregator(world)
    world.operate(lambda table: events.opened(table, "final", WISH, 0))
    settle(new)
    world.operate(lambda table: events.closed(table, "final"))
    settle(new)
    world.operate(lambda table: events.archived(table, "final", 0, 0, force=True))
    old.see()
    old.change()
    old.tell()
    settle(Aggregator(world))
    assert world.last.parts.keys() == world.table.keys(), "record and table hold different events"


def test_an_aggregator_that_was_replaced_tells_nothing() -> None:
    replaced_aggregator_tells_of_an_event_that_it_never_saw(Protections())
    with pytest.raises(AssertionError, match="different events"):
        replaced_aggregator_tells_of_an_event_that_it_never_saw(without("proof"))

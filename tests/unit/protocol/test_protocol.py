"""Searches for sequences of faults that break the promise: each reaction counts once, each viewer sees each swarm once.

With all protections, the search finds none. Without any one of them, it finds one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from emostream.model import Swarm
from emostream.swarms.rules import progress_of
from tests.unit.protocol import world
from tests.unit.protocol.world import PARTITIONS, Aggregator, Broker, ClusterRecord, Protections, Publisher, Subscriber

CLUSTERS = (0, 1)
ALL = 10**6
# The outcomes of a write: whether it arrives, and whether the writer gets the answer.
OUTCOMES = ((True, True), (True, False), (False, False))
FEW = st.integers(1, 3)


class World(RuleBasedStateMachine):
    """The base of all state machines: viewers react, and at the end, every reaction must be in exactly one swarm."""

    def __init__(self, protections: Protections) -> None:
        super().__init__()
        self.protections = protections
        self.now_ms = 0
        self.broker = Broker(protections.fence)
        self.broker.begin_stream()
        self.last_known = self.broker.swarms[0]
        for log in self.broker.reactions.values():
            log += [{"🔥": 1}, {"👏": 2}, {"🔥": 3}]

    @rule(partition=st.sampled_from(PARTITIONS), counts=st.dictionaries(st.sampled_from("🔥👏"), FEW))
    def react(self, partition: int, counts: dict[str, int]) -> None:
        self.broker.reactions[partition].append(counts)

    def count_all(self) -> None:
        """Let one aggregator count everything without a fault."""
        aggregator = Aggregator(self.broker, self.protections)
        aggregator.read_back(self.last_known, None)
        aggregator.prepare([ALL] * len(PARTITIONS), self.now_ms)
        if aggregator.pending is not None:
            self.last_known = aggregator.write(arrives=True, is_answered=True)

    def teardown(self) -> None:
        self.count_all()
        sent = sum((Counter(record) for log in self.broker.reactions.values() for record in log), Counter())
        counted = sum((Counter(swarm.counts) for swarm in self.broker.swarms), Counter())
        assert counted == sent, "not every reaction is in exactly one swarm"


class Counting(World):
    """Faults of aggregators: they die, sleep, and write after they were replaced.

    Several of them work at the same time. The election does not protect against that, because a replaced aggregator may
    not know it yet.
    """

    def __init__(self, protections: Protections) -> None:
        super().__init__(protections)
        # Start without a fault: one aggregator works and has written a swarm.
        first = Aggregator(self.broker, protections)
        first.read_back(self.last_known, None)
        first.prepare([1] * len(PARTITIONS), self.now_ms)
        self.last_known = first.write(arrives=True, is_answered=True)
        self.aggregators = [first]

    @precondition(lambda self: len(self.aggregators) < 3)
    @rule()
    def start_aggregator(self) -> None:
        self.aggregators.append(Aggregator(self.broker, self.protections))

    # A single rule covers all steps of an aggregator, so that most steps of a run are such steps.
    @precondition(lambda self: self.aggregators)
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        aggregator = data.draw(st.sampled_from(self.aggregators))
        if aggregator.last is None:
            self.read_back(aggregator, data)
        elif aggregator.pending is None:
            self.prepare(aggregator, data)
        else:
            self.write(aggregator, data)
        self.aggregators = [each for each in self.aggregators if not each.has_ended]

    def read_back(self, aggregator: Aggregator, data: st.DataObject) -> None:
        checkpoint = data.draw(st.sampled_from([None, *self.broker.swarms]), label="checkpoint")
        stale = checkpoint and {int(number): offset for number, offset in progress_of(checkpoint).offsets.items()}
        aggregator.read_back(self.last_known, stale)

    def prepare(self, aggregator: Aggregator, data: st.DataObject) -> None:
        records = data.draw(st.tuples(*(st.integers(0, 3) for _ in PARTITIONS)), label="records")
        self.now_ms += data.draw(st.integers(-5, 20), label="ms")
        aggregator.prepare(records, self.now_ms)

    def write(self, aggregator: Aggregator, data: st.DataObject) -> None:
        arrives, is_answered = data.draw(st.sampled_from(OUTCOMES), label="arrives, is answered")
        self.last_known = aggregator.write(arrives=arrives, is_answered=is_answered) or self.last_known

    @precondition(lambda self: self.aggregators)
    @rule(data=st.data())
    def kill_aggregator(self, data: st.DataObject) -> None:
        self.aggregators.remove(data.draw(st.sampled_from(self.aggregators)))


class Spreading(World):
    """Faults of publishers and subscribers: both die, and several publishers of a cluster work at the same time.

    There are two clusters with one subscriber each, and two viewers.
    """

    def __init__(self, protections: Protections) -> None:
        super().__init__(protections)
        self.topics: list[list[ClusterRecord]] = [[] for _ in CLUSTERS]
        self.publishers = [Publisher(self.broker, topic) for topic in self.topics]
        self.subscribers = [Subscriber(topic, protections) for topic in self.topics]
        self.viewers = [world.Viewer() for _ in CLUSTERS]
        # Start without a fault: every viewer is connected and has all swarms.
        for publisher, subscriber, viewer in zip(self.publishers, self.subscribers, self.viewers, strict=True):
            publisher.take(ALL)
            publisher.arrive_all()
            subscriber.read(ALL)
            viewer.connect(subscriber)

    @rule()
    def next_swarm(self) -> None:
        self.broker.reactions[0].append({"🔥": 1})
        self.count_all()

    @precondition(lambda self: self.broker.streams < 3)
    @rule()
    def begin_new_stream(self) -> None:
        self.broker.begin_stream()
        self.last_known = self.broker.swarms[-1]

    @precondition(lambda self: len(self.publishers) < 4)
    @rule(cluster=st.sampled_from(CLUSTERS))
    def start_publisher(self, cluster: int) -> None:
        self.publishers.append(Publisher(self.broker, self.topics[cluster]))

    @precondition(lambda self: self.publishers)
    @rule(data=st.data(), records=FEW)
    def publish(self, data: st.DataObject, records: int) -> None:
        """Let one publisher send records, or let the next record that it has sent arrive."""
        publisher = data.draw(st.sampled_from(self.publishers))
        if publisher.sent and data.draw(st.booleans(), label="arrives"):
            publisher.arrive()
        else:
            publisher.take(records)

    @rule(cluster=st.sampled_from(CLUSTERS), records=FEW)
    def subscribe(self, cluster: int, records: int) -> None:
        self.subscribers[cluster].read(records)

    @rule(cluster=st.sampled_from(CLUSTERS))
    def take_turns(self, cluster: int) -> None:
        self.subscribers[cluster].take_turns()

    @precondition(lambda self: any(each.takes_viewers for each in self.subscribers))
    @rule(data=st.data(), number=st.integers(0, 1), messages=FEW)
    def look(self, data: st.DataObject, number: int, messages: int) -> None:
        """Let a viewer read messages, or connect to a subscriber."""
        viewer = self.viewers[number]
        if viewer.connection is not None and data.draw(st.integers(0, 3), label="stays"):
            viewer.read(messages)
        else:
            viewer.connect(data.draw(st.sampled_from([each for each in self.subscribers if each.takes_viewers])))

    @rule(data=st.data(), cluster=st.sampled_from(CLUSTERS))
    def kill(self, data: st.DataObject, cluster: int) -> None:
        """Kill a publisher, or replace the subscriber of a cluster."""
        if self.publishers and data.draw(st.booleans(), label="publisher"):
            self.publishers.remove(data.draw(st.sampled_from(self.publishers)))
            return
        for viewer in self.viewers:
            if viewer.connection is not None and viewer.connection.subscriber is self.subscribers[cluster]:
                viewer.disconnect()
        self.subscribers[cluster] = Subscriber(self.topics[cluster], self.protections)

    def teardown(self) -> None:
        """Check that every viewer gets all swarms once the faults have stopped."""
        super().teardown()
        for cluster, topic in enumerate(self.topics):
            # All sent records arrive at last, and one publisher relays the rest.
            for publisher in self.publishers:
                publisher.arrive_all()
            publisher = Publisher(self.broker, topic)
            publisher.take(ALL)
            publisher.arrive_all()
            self.subscribers[cluster].read(ALL)
        for viewer, subscriber in zip(self.viewers, self.subscribers, strict=True):
            if viewer.connection is None:
                viewer.connect(subscriber)
            self.read_all(viewer)

    def read_all(self, viewer: world.Viewer) -> None:
        assert viewer.connection is not None
        viewer.connection.subscriber.take_turns()
        while viewer.connection.unread:
            viewer.read(ALL)
            viewer.connection.subscriber.take_turns()
        last = self.broker.swarms[-1]
        assert viewer.watcher.resume_id == last.id
        assert viewer.watcher.totals == last.totals, "a viewer's totals are not those of the last swarm"


class Whole(Counting, Spreading):
    """All faults in one run."""


def search(machine: type[World], protections: Protections, examples: int, **more: Any) -> None:
    """Try this many sequences of events; they are the same in each run of the tests.

    Raises AssertionError if one breaks the promise.
    """
    quick = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    run_state_machine_as_test(lambda: machine(protections), settings=quick)


@pytest.mark.parametrize("machine", [Counting, Spreading, Whole])
def test_each_reaction_is_in_one_swarm_and_each_viewer_sees_each_swarm_once(machine: type[World]) -> None:
    search(machine, Protections(), examples=50)


@pytest.mark.parametrize(
    ("protection", "machine"),
    [
        ("fence", Counting),
        ("read_back", Counting),
        ("never_resend", Counting),
        ("order_assertion", Counting),
        ("drop_repeats", Spreading),
    ],
)
def test_the_search_finds_a_course_that_breaks_the_promise_without_a_protection(
    protection: str, machine: type[World]
) -> None:
    without = replace(Protections(), **{protection: False})
    with pytest.raises(AssertionError):
        # Do not shrink the sequence that breaks the promise: shrinking is slow, and the tests below have short ones.
        search(machine, without, examples=1_000, phases=[Phase.generate], report_multiple_bugs=False)


# For each protection, a sequence of events that breaks the promise without it.


def replaced_aggregator_writes_late(protections: Protections) -> None:
    broker = broker_with_reactions(protections)
    old = begin(broker, protections)
    old.prepare([1, 0], 0)
    new = begin(broker, protections)
    new.prepare([2, 0], 0)
    new.write(arrives=True, is_answered=True)
    old.write(arrives=True, is_answered=True)


def acknowledgement_is_lost_and_the_aggregator_replaced(protections: Protections) -> None:
    broker = broker_with_reactions(protections)
    old = begin(broker, protections)
    old.prepare([1, 0], 0)
    assert old.write(arrives=True, is_answered=False) is None
    new = begin(broker, protections, last_known=broker.swarms[0])
    new.prepare([2, 0], 0)
    new.write(arrives=True, is_answered=True)


def acknowledgement_is_lost_and_the_aggregator_goes_on(protections: Protections) -> None:
    broker = broker_with_reactions(protections)
    aggregator = begin(broker, protections)
    aggregator.prepare([1, 0], 0)
    aggregator.write(arrives=True, is_answered=False)
    if aggregator.pending is not None:
        aggregator.write(arrives=True, is_answered=True)


def old_checkpoint_is_found(protections: Protections) -> None:
    broker = broker_with_reactions(protections)
    old = begin(broker, protections)
    old.prepare([1, 0], 0)
    old.write(arrives=True, is_answered=True)
    new = begin(broker, protections, stale={0: 0, 1: 0})
    new.prepare([2, 0], 0)
    if new.pending is not None:
        new.write(arrives=True, is_answered=True)


def replaced_publisher_writes_late(protections: Protections) -> None:
    broker, topic = broker_with_reactions(protections), []
    old, new = Publisher(broker, topic), Publisher(broker, topic)
    old.take(ALL)
    new.take(ALL)
    new.arrive()
    subscriber, viewer = Subscriber(topic, protections), world.Viewer()
    subscriber.read(ALL)
    viewer.connect(subscriber)
    old.arrive()
    subscriber.read(ALL)
    viewer.read(ALL)


def replaced_publisher_writes_after_a_new_stream_began(protections: Protections) -> None:
    broker, topic = broker_with_reactions(protections), []
    old = Publisher(broker, topic)
    old.take(ALL)
    broker.begin_stream()
    new = Publisher(broker, topic)
    new.take(ALL)
    new.arrive_all()
    subscriber, viewer = Subscriber(topic, protections), world.Viewer()
    subscriber.read(ALL)
    viewer.connect(subscriber)
    old.arrive_all()
    subscriber.read(ALL)
    viewer.read(ALL)


def broker_with_reactions(protections: Protections) -> Broker:
    broker = Broker(protections.fence)
    broker.begin_stream()
    broker.reactions[0] += [{"🔥": 1}, {"👏": 2}]
    return broker


def begin(
    broker: Broker,
    protections: Protections,
    last_known: Swarm | None = None,
    stale: dict[int, int] | None = None,
) -> Aggregator:
    aggregator = Aggregator(broker, protections)
    aggregator.read_back(last_known or broker.swarms[-1], stale)
    return aggregator


@pytest.mark.parametrize(
    ("protection", "course", "symptom"),
    [
        ("fence", replaced_aggregator_writes_late, "sequence 1 follows 1"),
        ("read_back", acknowledgement_is_lost_and_the_aggregator_replaced, "sequence 1 follows 1"),
        ("never_resend", acknowledgement_is_lost_and_the_aggregator_goes_on, "sequence 1 follows 1"),
        ("order_assertion", old_checkpoint_is_found, "lost or counted twice"),
        ("drop_repeats", replaced_publisher_writes_late, "a viewer at .* got a REPEAT"),
        ("drop_repeats", replaced_publisher_writes_after_a_new_stream_began, "a viewer at s2-0 got a GAP"),
    ],
)
def test_each_protection_alone_keeps_the_promise(
    protection: str, course: Callable[[Protections], None], symptom: str
) -> None:
    course(Protections())
    with pytest.raises(AssertionError, match=symptom):
        course(replace(Protections(), **{protection: False}))


def test_a_batch_that_would_take_progress_back_is_refused() -> None:
    broker = broker_with_reactions(Protections())
    old = begin(broker, Protections())
    old.prepare([1, 0], 0)
    old.write(arrives=True, is_answered=True)
    # This one starts from an old checkpoint, and its batch has no record whose offset could show that.
    new = begin(broker, Protections(), stale={0: 0, 1: 0})
    new.prepare([0, 0], 0)
    assert new.has_ended

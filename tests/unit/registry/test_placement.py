"""A stampede of any size spreads evenly, no subscriber gets more than its capacity, and pending viewers count once."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emostream.registry.placement import Placement

PENDING_SECONDS = 10


def placement(**capacities: int) -> Placement:
    made = Placement(PENDING_SECONDS, random.Random(1).random)
    for name, capacity in capacities.items():
        made.report(name, capacity=capacity, clients=0)
    return made


def test_nobody_there() -> None:
    assert placement().assign(0) is None


@given(st.integers(1, 300), st.integers(0, 1_000))
def test_a_stampede_spreads_evenly_over_equals(subscribers: int, viewers: int) -> None:
    crowd = placement(**{f"s{number}": 1_000 for number in range(subscribers)})
    counts = Counter({f"s{number}": 0 for number in range(subscribers)})
    counts.update(crowd.assign(0) for _ in range(viewers))
    assert sum(counts.values()) == viewers
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(0, 400))
def test_a_stampede_spreads_by_capacity_and_never_above_it(capacities: list[int], viewers: int) -> None:
    sizes = {f"s{number}": capacity for number, capacity in enumerate(capacities)}
    crowd = placement(**sizes)
    counts = Counter(name for _ in range(viewers) if (name := crowd.assign(0)) is not None)
    assert sum(counts.values()) == min(viewers, sum(capacities))
    assert all(counts[name] <= capacity for name, capacity in sizes.items())
    # The subscriber that got a viewer was not fuller than any other one with room.
    room = [counts[name] / capacity for name, capacity in sizes.items() if counts[name] < capacity]
    assert all((counts[name] - 1) / sizes[name] <= min(room, default=1) for name in counts)


def test_ties_are_broken_at_random() -> None:
    firsts = Counter()
    for seed in range(300):
        crowd = Placement(PENDING_SECONDS, random.Random(seed).random)
        for name in "abc":
            crowd.report(name, capacity=10, clients=0)
        firsts[crowd.assign(0)] += 1
    assert set(firsts) == set("abc")
    assert min(firsts.values()) > 60


def test_the_load_is_relative_to_the_capacity() -> None:
    crowd = placement(small=10, large=1_000)
    crowd.report("small", capacity=10, clients=2)
    crowd.report("large", capacity=1_000, clients=100)
    assert crowd.assign(0) == "large"


def test_excluded_ones_are_passed_over_and_come_back() -> None:
    crowd = placement(a=10, b=10)
    crowd.report("b", capacity=10, clients=5)
    assert crowd.assign(0, exclude=["a"]) == "b"
    assert crowd.assign(0, exclude=["a", "b"]) is None
    assert crowd.assign(0) == "a"


def test_one_that_is_gone_gets_nobody_and_starts_afresh_when_it_returns() -> None:
    crowd = placement(a=1)
    assert crowd.assign(0) == "a"
    crowd.remove("a")
    crowd.remove("a")
    assert crowd.assign(0) is None
    crowd.report("a", capacity=1, clients=0)
    assert crowd.pending("a", 0) == 0
    assert [crowd.assign(0), crowd.assign(0)] == ["a", None]


def test_an_assignment_is_load_until_its_time_is_over() -> None:
    crowd = placement(a=1)
    assert [crowd.assign(0), crowd.assign(9.9), crowd.assign(10)] == ["a", None, "a"]


def test_a_report_of_more_viewers_explains_the_oldest_assignments() -> None:
    crowd = placement(a=10)
    for now in (0, 1, 2):
        crowd.assign(now)
    crowd.report("a", capacity=10, clients=2)
    assert crowd.pending("a", 2) == 1
    # When the time of the two settled assignments is over, they do not count again.
    assert crowd.pending("a", 11.9) == 1
    assert crowd.pending("a", 12) == 0


def test_a_report_of_fewer_viewers_explains_nothing() -> None:
    crowd = placement(a=10)
    crowd.report("a", capacity=10, clients=5)
    crowd.assign(0)
    crowd.report("a", capacity=10, clients=4)
    assert crowd.pending("a", 0) == 1


class AnyOrder(RuleBasedStateMachine):
    """The levels and their heap with outdated loads, compared with a plain count."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.crowd = Placement(PENDING_SECONDS, random.Random(1).random)
        self.members: dict[str, tuple[int, int]] = {}
        self.pending: dict[str, list[float]] = {}

    @rule(name=st.sampled_from("abcd"), capacity=st.integers(1, 5), clients=st.integers(0, 5))
    def report(self, name: str, capacity: int, clients: int) -> None:
        before = self.members[name][1] if name in self.members else clients
        self.crowd.report(name, capacity=capacity, clients=clients)
        self.members[name] = capacity, clients
        self.pending[name] = self.pending.get(name, [])[max(0, clients - before) :]

    @rule(name=st.sampled_from("abcd"))
    def remove(self, name: str) -> None:
        self.crowd.remove(name)
        self.members.pop(name, None)
        self.pending.pop(name, None)

    @rule(seconds=st.sampled_from([0, 1, 5, 10]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for name, times in self.pending.items():
            self.pending[name] = [time for time in times if time > self.now]

    @rule(exclude=st.sets(st.sampled_from("abcd")))
    def assign(self, exclude: set[str]) -> None:
        loads = {
            name: (clients + len(self.pending[name])) / capacity
            for name, (capacity, clients) in self.members.items()
            if name not in exclude and clients + len(self.pending[name]) < capacity
        }
        chosen = self.crowd.assign(self.now, exclude)
        if chosen is None:
            assert not loads
        else:
            assert loads[chosen] == min(loads.values())
            self.pending[chosen].append(self.now + PENDING_SECONDS)

    @precondition(lambda self: self.members)
    @invariant()
    def pending_is_known(self) -> None:
        assert {name: self.crowd.pending(name, self.now) for name in self.members} == {
            name: len(times) for name, times in self.pending.items()
        }


TestAnyOrder = AnyOrder.TestCase

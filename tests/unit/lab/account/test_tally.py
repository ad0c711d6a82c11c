"""A process notes what each of its viewers saw. From this, the account finds a dropped, doubled or changed swarm."""

import msgspec
import pytest

from emostream.client.outcome import Accepted, Refused, Unknown
from emostream.client.watcher import Watcher
from emostream.model import End, EventPart, Progress, Reaction, Record, Reset, Snapshot, Swarm, Window, message_id
from emostream_lab.account.account import Account, RunAccount
from emostream_lab.account.tally import LogTally, Spectator, Tally, sequence_in


def swarm(sequence: int, count: int = 3) -> Swarm:
    total = (sequence - 10) * 3
    return Swarm(
        message_id("s", sequence),
        sequence,
        Window(0, 1),
        count,
        {"🔥": count},
        {"🔥": 1},
        {"🔥": total - 3 + count},
        Progress("topic", {"0": sequence}),
    )


@pytest.fixture
def tally() -> Tally:
    return Tally()


def watch(tally: Tally, *sequences: int) -> Spectator:
    """Add a viewer. It gets a snapshot with sequence number 10, and then these swarms."""
    spectator = Spectator(Watcher())
    spectator.watcher.take(Snapshot(message_id("s", 10), 10, {}))
    for sequence in sequences:
        spectator.watcher.take(swarm(sequence))
        tally.seen(swarm(sequence), 1_010 + sequence, 1_000)
    tally.spectators.append(spectator)
    return spectator


def problems(tally: Tally, last: int = 14, *, under_faults: bool = False) -> list[str]:
    log = Account(by_totals={"🔥": 12}, by_swarms={"🔥": 12})
    return (tally.account(last) + Account(accepted={"🔥": 12}) + log).problems(under_faults=under_faults)


def test_viewers_that_saw_all_are_no_problem(tally: Tally) -> None:
    watch(tally, 11, 12, 13, 14)
    watch(tally, 11, 12, 13, 14)
    assert problems(tally) == []
    account = tally.account(14)
    assert (account.viewers, account.delivered, account.expected) == (2, 8, 8)


def test_a_swarm_dropped_on_purpose_is_found(tally: Tally) -> None:
    watch(tally, 11, 12, 13, 14)
    watch(tally, 11, 13, 14)
    assert "after one that never came" in problems(tally)[0]
    assert problems(tally, under_faults=True) != []


def test_a_viewer_that_resumed_after_a_gap_missed_nothing(tally: Tally) -> None:
    watch(tally, 11, 13, 12, 13, 14)
    assert "after one that never came" in problems(tally)[0]
    assert problems(tally, under_faults=True) == []


def test_a_swarm_doubled_on_purpose_is_found(tally: Tally) -> None:
    watch(tally, 11, 12, 12, 13, 14)
    assert problems(tally) == ["1 swarms came a second time"]


def test_a_swarm_that_differs_is_found(tally: Tally) -> None:
    watch(tally, 11, 12, 13, 14)
    tally.seen(swarm(12, count=4), 1_030, 1_000)
    assert problems(tally) == ["1 swarms were not the same for all viewers"]


def test_a_viewer_that_stays_behind_is_found_unless_it_left(tally: Tally) -> None:
    watch(tally, 11, 12, 13, 14)
    late = watch(tally, 11, 12, 13)
    assert problems(tally) == ["1 viewers were connected to the end and did not get the last swarm"]
    late.is_connected = False
    assert problems(tally) == []


def test_only_a_viewer_that_does_not_read_may_be_reset(tally: Tally) -> None:
    spectator = watch(tally, 11)
    spectator.watcher.take(Reset(message_id("s", 14), 14, {}))
    spectator.is_slow = True
    assert problems(tally) == []
    spectator.is_slow = False
    assert problems(tally) == ["1 times a viewer was told that it had missed swarms"]


def test_a_replay_tells_nothing_of_how_long_a_swarm_takes(tally: Tally) -> None:
    assert tally.seen(swarm(11), came_seconds=1_011, opened_seconds=1_000)
    assert tally.seen(swarm(11), came_seconds=1_012, opened_seconds=1_010)
    assert not tally.seen(swarm(11), came_seconds=1_030, opened_seconds=1_029)
    assert tally.end_to_end.arrivals(11) == [1_011, 1_012]


def test_a_request_is_noted_by_its_outcome_and_what_is_accepted_waits_for_its_swarm(tally: Tally) -> None:
    reactions = [Reaction("u1", "🔥", 0), Reaction("u2", "🎉", 0), Reaction("u3", "🔥", 0)]
    tally.sent(reactions, Accepted(3, Record(0, 7, 0)), 1.0)
    tally.sent(reactions[:1], Refused("full"), 1.0)
    tally.sent(reactions[1:2], Unknown("no answer"), 1.0)
    account = tally.account(0)
    assert (account.accepted, account.refused, account.unknown) == ({"🔥": 2, "🎉": 1}, {"🔥": 1}, {"🎉": 1})
    assert account.in_flight == 3
    tally.end_to_end.counted({0: 8})
    assert tally.account(0).in_flight == 0


def test_the_log_counts_what_came_after_its_start() -> None:
    log = LogTally(swarm(11))
    log.take(swarm(12))
    log.take(swarm(13))
    counted = Account(others={"🎉": 1}, by_totals={"🔥": 6}, by_swarms={"🔥": 6})
    assert log.account({"main": {"🎉": 1}}) == RunAccount({"main": counted})
    assert log.progress == ({0: 11}, {0: 13})
    assert (log.sequence("main"), log.swarms("main")) == (13, 2)


def part(sequence: int, total: int, counts: dict[str, int], *, stream: str = "s", ended: bool = False) -> EventPart:
    return EventPart(stream, sequence, {"🔥": total} if total else {}, counts, counts, ended)


def with_final(sequence: int, final: EventPart) -> Swarm:
    return msgspec.structs.replace(swarm(sequence), events={"final": final})


def test_the_log_counts_each_event_over_its_openings() -> None:
    log = LogTally(with_final(11, part(7, 100, {"🔥": 5})), ["main", "final", "unknown"])
    log.take(with_final(12, part(8, 103, {"🔥": 3})))
    log.take(with_final(13, part(8, 103, {})))
    log.take(with_final(14, part(9, 103, {}, ended=True)))
    assert (log.sequence("final"), log.swarms("final"), log.swarms("main")) == (9, 1, 3)
    assert [log.is_open(event) for event in ("main", "final", "unknown")] == [True, False, False]
    log.take(with_final(15, part(0, 0, {}, stream="t")))
    log.take(with_final(16, part(1, 4, {"🔥": 4}, stream="t")))
    account = log.account({"final": {"🔥": 2}}).events
    assert account["final"] == Account(others={"🔥": 2}, by_totals={"🔥": 7}, by_swarms={"🔥": 7})
    assert account["unknown"] == Account()
    assert (log.sequence("final"), log.swarms("final"), log.sequence("unknown")) == (1, 2, -1)
    assert log.is_open("final")


def test_a_record_names_the_swarm_that_an_event_gets_of_it() -> None:
    assert sequence_in(swarm(12), "main") == 12
    assert sequence_in(with_final(12, part(8, 3, {"🔥": 3})), "final") == 8
    assert sequence_in(with_final(12, part(9, 3, {}, ended=True)), "final") is None
    # A late swarm comes before one more end.
    assert sequence_in(with_final(12, part(11, 4, {"🔥": 1}, ended=True)), "final") == 10
    assert sequence_in(swarm(12), "final") is None


def test_a_viewer_that_has_seen_the_end_is_not_behind_what_comes_after_it(tally: Tally) -> None:
    spectator = watch(tally, 11, 12)
    assert (tally.behind(14), tally.unseen(14)) == (1, 2)
    spectator.watcher.take(End(message_id("s", 13), 13, {"🔥": 6}))
    assert (tally.behind(15), tally.unseen(15)) == (0, 0)
    account = tally.account(15)
    assert (account.delivered, account.expected, account.unequal) == (2, 2, 0)

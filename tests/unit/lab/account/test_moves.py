"""Tests that a move lasts from the loss of a subscriber to the next connection, across failed attempts."""

from emostream.client.viewer import Connecting, Live, Waiting
from emostream_lab.account.moves import Move, Moves


def test_a_viewer_is_away_from_the_loss_until_a_subscriber_takes_it_in() -> None:
    moves = Moves()
    states = [
        (0.0, Connecting()),
        (1.0, Live("cluster1/9001", "cluster1")),
        (5.0, Waiting("killed", 0.5)),
        (5.5, Connecting()),
        (6.0, Waiting("the registry is away", 1)),
        (7.0, Connecting()),
        (8.0, Live("cluster2/9002", "cluster2")),
    ]
    for at, state in states:
        moves.enter(7, state, at)
    assert list(moves.made) == [Move("cluster1/9001", 5.0, 3.0)]


def test_one_that_never_had_a_subscriber_lost_none() -> None:
    moves = Moves()
    moves.enter(1, Waiting("none has room", 1), 0.0)
    moves.enter(1, Live("cluster1/9001", "cluster1"), 1.0)
    assert not moves.made


def test_viewers_do_not_mix() -> None:
    moves = Moves()
    moves.enter(1, Live("cluster1/9001", "cluster1"), 0.0)
    moves.enter(1, Waiting("killed", 1), 1.0)
    moves.enter(2, Live("cluster1/9002", "cluster1"), 2.0)
    assert not moves.made

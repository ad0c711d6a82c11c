"""A reaction is seen once at each cluster, or is overdue there, or is not expected at all."""

from emostream.canary.sights import Sights


def test_each_cluster_shows_a_reaction_in_its_own_time() -> None:
    sights = Sights(["a", "b"], timeout_seconds=30)
    sights.sent("🔥", 100)
    assert sights.seen("a", {"🔥": 1}, 102.5) == [2.5]
    assert sights.seen("a", {"🔥": 1}, 103) == []
    assert sights.seen("b", {"👏": 1}, 103) == []
    assert sights.seen("b", {"👏": 1, "🔥": 1}, 104) == [4]
    assert sights.overdue(1_000) == []


def test_what_was_not_seen_in_time_is_overdue_once_and_seen_no_more() -> None:
    sights = Sights(["a", "b"], timeout_seconds=30)
    sights.sent("🔥", 100)
    sights.sent("👏", 110)
    sights.seen("b", {"🔥": 1}, 101)
    assert sights.overdue(129.9) == []
    assert sights.overdue(130) == ["a"]
    assert sights.overdue(140) == ["a", "b"]
    assert sights.seen("a", {"🔥": 1, "👏": 1}, 141) == []


def test_what_ingest_did_not_take_is_not_expected() -> None:
    sights = Sights(["a"], timeout_seconds=30)
    sights.sent("🔥", 100)
    sights.not_taken("🔥")
    assert sights.seen("a", {"🔥": 1}, 101) == []
    assert sights.overdue(1_000) == []


def test_an_emoji_may_be_sent_again() -> None:
    sights = Sights(["a"], timeout_seconds=30)
    sights.sent("🔥", 100)
    assert sights.seen("a", {"🔥": 1}, 101) == [1]
    sights.sent("🔥", 420)
    assert sights.seen("a", {"🔥": 1}, 423) == [3]

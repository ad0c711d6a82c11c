"""One address reserves no more than its share of the seats."""

from emostream.registry.pending import PendingByAddress


def test_an_address_has_room_again_when_its_reservations_are_over() -> None:
    pending = PendingByAddress(2, 10)
    for at in (0, 1):
        assert pending.has_room("a", at)
        pending.take("a", at)
    assert not pending.has_room("a", 9.9)
    assert pending.has_room("b", 9.9)
    assert pending.has_room("a", 10)
    pending.take("a", 10)
    assert not pending.has_room("a", 10)
    assert pending.has_room("a", 11)


def test_what_is_over_takes_no_memory() -> None:
    pending = PendingByAddress(2, 10)
    for number in range(1_000):
        pending.take(f"a{number}", number)
        pending.has_room("x", number)
    assert len(pending._taken) == len(pending._count) == 10


def test_without_a_limit_nothing_is_kept() -> None:
    pending = PendingByAddress(0, 10)
    for _ in range(100):
        assert pending.has_room("a", 0)
        pending.take("a", 0)
    assert not pending._taken
    assert not pending._count

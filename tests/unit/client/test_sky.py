"""The emoji of a swarm rise over the screen, inside it, and are gone after their flight."""

import random

from hypothesis import given
from hypothesis import strategies as st

from emostream.client.sky import MAX_FLYING, Sky


def half() -> float:
    return 0.5


def test_an_emoji_rises_from_the_bottom_to_the_top_and_leaves() -> None:
    sky = Sky(half)
    sky.release({"🔥": 1}, now=100.0, window_seconds=2.0)
    assert list(sky.positions(100.9, 80, 24)) == []
    rows = [next(sky.positions(now, 80, 24))[0] for now in (101.0, 102.0, 103.0, 103.99)]
    assert rows[0] == 23
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] == 0
    assert list(sky.positions(104.0, 80, 24)) == []


def test_the_oldest_give_way_when_the_sky_is_full() -> None:
    sky = Sky(half)
    sky.release({"🔥": 10}, now=0.0, window_seconds=0.0)
    sky.release({"👏": 10 * MAX_FLYING}, now=0.0, window_seconds=0.0)
    flying = list(sky.positions(1.0, 80, 24))
    assert len(flying) == MAX_FLYING
    assert {emoji for _, _, emoji in flying} == {"👏"}


@given(
    st.integers(0, 2**32),
    st.integers(2, 300),
    st.integers(1, 100),
    st.dictionaries(st.sampled_from("🔥👏"), st.integers(0, 50)),
)
def test_nothing_flies_outside_the_screen(seed: int, width: int, height: int, swarm: dict[str, int]) -> None:
    sky = Sky(random.Random(seed).random)
    sky.release(swarm, now=0.0, window_seconds=2.0)
    for now in (0.0, 1.0, 2.5, 4.9):
        for row, column, _ in sky.positions(now, width, height):
            assert 0 <= row < height
            assert 0 <= column <= width - 2

"""Each shape brings all viewers in time, reaches the requested peak, and sends nothing after the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream_lab.audience.shapes import SHAPES, Audience, Shape

audiences = st.builds(
    Audience,
    viewers=st.integers(0, 100_000),
    reactions_per_second=st.floats(0, 100_000),
    seconds=st.floats(5, 100_000),
)
shapes = st.sampled_from(list(SHAPES.values()))


@given(shapes, audiences, st.floats(-10, 200_000))
def test_reactions_stay_between_none_and_what_was_asked_and_end_with_the_run(
    shape: Shape, audience: Audience, elapsed: float
) -> None:
    rate = shape.reactions_per_second(audience, elapsed)
    assert 0 <= rate <= audience.reactions_per_second
    if not 0 <= elapsed < audience.seconds:
        assert rate == 0


@given(shapes, audiences)
def test_all_viewers_come_before_the_run_ends(shape: Shape, audience: Audience) -> None:
    assert audience.viewers / shape.joins_per_second(audience) <= audience.seconds


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_reaches_the_height_that_was_asked_for(name: str) -> None:
    audience = Audience(viewers=5_000, reactions_per_second=2_000, seconds=300)
    assert max(SHAPES[name].reactions_per_second(audience, second) for second in range(300)) == 2_000


def test_a_match_is_quiet_before_the_goal_and_after_it() -> None:
    audience = Audience(viewers=10, reactions_per_second=1_000, seconds=100)
    rates = [SHAPES["match"].reactions_per_second(audience, second) for second in (0, 39, 40, 49, 60, 99)]
    assert rates == pytest.approx([100, 100, 1_000, 1_000, 500, 100])


def test_a_stampede_takes_five_seconds_however_many_come() -> None:
    audience = Audience(viewers=5_000, reactions_per_second=0, seconds=60)
    assert SHAPES["stampede"].joins_per_second(audience) == 1_000


def test_a_ramp_rises_evenly() -> None:
    audience = Audience(viewers=400, reactions_per_second=90, seconds=90)
    ramp = SHAPES["ramp"]
    assert ramp.joins_per_second(audience) == pytest.approx(400 / 60)
    assert ramp.reactions_per_second(audience, 30) == pytest.approx(45)
    assert ramp.reactions_per_second(audience, 75) == 90

"""A process is ready only once every part has said so."""

import pytest

from emostream.readiness import Readiness


def test_a_condition_that_was_never_reported_is_not_met() -> None:
    readiness = Readiness("kafka", "announced")
    readiness.met("kafka")
    assert readiness.reasons() == {"announced": "starting"}
    assert not readiness.is_ready()


def test_it_turns_ready_and_back_with_the_reason() -> None:
    readiness = Readiness("kafka")
    readiness.met("kafka")
    assert readiness.is_ready()
    readiness.not_met("kafka", "no broker answers")
    assert readiness.reasons() == {"kafka": "no broker answers"}


def test_a_condition_nobody_named_is_a_mistake_in_the_program() -> None:
    with pytest.raises(KeyError):
        Readiness("kafka").met("zookeeper")

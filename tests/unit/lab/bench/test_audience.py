"""The audience of the benchmarks reacts to each of its events alike."""

from emostream.model import decode_swarm, encode
from emostream_lab.bench.audience import Audience


def test_each_event_gets_the_counts_of_main() -> None:
    audience = Audience(per_second=1_000, trigger_ms=100, seed=7, events=["main", "one", "two"])
    audience.next_swarm()
    swarm = decode_swarm(encode(audience.next_swarm()))
    assert sum(swarm.counts.values()) == 100
    assert list(swarm.parts) == ["one", "two"]
    for part in swarm.parts.values():
        assert (part.sequence, part.counts, part.totals) == (swarm.sequence, swarm.counts, swarm.totals)


def test_main_alone_needs_no_field_of_events() -> None:
    audience = Audience(per_second=1_000, trigger_ms=100, seed=7)
    assert b"events" not in encode(audience.next_swarm())

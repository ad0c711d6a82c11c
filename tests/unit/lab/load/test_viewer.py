"""A viewer of an event that is not there gives up, and the run has a failure that says so."""

from typing import TYPE_CHECKING, cast

from emostream.client.http1 import Response
from emostream_lab.load.viewer import Viewer

if TYPE_CHECKING:
    from emostream_lab.load.http import Endpoint
    from emostream_lab.load.record import Record


class Registry:
    """Knows no event `final`."""

    def post(self, _: bytes, __: str | None) -> Response:
        return Response(404, {}, b'{"detail":"There is no event final.","event":"final"}', keeps_alive=True)


class Failures(list[tuple[str, str, str]]):
    """Keeps what is recorded as failed."""

    def request(self, *_: object) -> None:
        pass

    def failed(self, method: str, name: str, reason: str) -> None:
        self.append((method, name, reason))


def test_without_its_event_a_viewer_stops_and_the_run_has_a_failure_that_names_it() -> None:
    failures = Failures()
    registry, record = cast("tuple[Endpoint, Record]", (Registry(), failures))
    viewer = Viewer("sse", "u", event="final", registry=registry, record=record, on_swarm=lambda *_: None)
    assert viewer.hold(lambda _: None) is None
    [(method, name, reason)] = failures
    assert (method, name) == ("STREAM", "connect (sse)")
    assert "no event final" in reason

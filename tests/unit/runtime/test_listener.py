"""What others are told of a listener."""

from emostream.config import IngestSettings
from emostream.runtime.listener import listen_for_viewers


def test_an_ipv6_address_is_told_in_brackets() -> None:
    with listen_for_viewers(IngestSettings(host="::1", port=0)) as listener:
        assert listener.port
        assert listener.url == f"http://[::1]:{listener.port}"
        assert listener.name == listener.address == f"[::1]:{listener.port}"

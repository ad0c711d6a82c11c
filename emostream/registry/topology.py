"""Every live process, as ZooKeeper last said, and the way to the subscribers among them. Pure."""

from collections.abc import Callable, Collection
from typing import Annotated

import msgspec

from emostream import model
from emostream.model import MAIN, Assignment, Count, Url, event_path
from emostream.registry.live import RegisteredProcess, StaleSince
from emostream.registry.placement import Placement

SUBSCRIBERS = "/subscribers"
SERVICES = "/services"


class Subscriber(msgspec.Struct, frozen=True):
    """A subscriber as GET /v1/topology has it. `url` is for viewers."""

    name: str
    cluster: str
    url: Url
    capacity: Count
    clients: Count
    pending: Annotated[Count, msgspec.Meta(description="Viewers sent there who have not been reported yet.")]


class Service(msgspec.Struct, frozen=True):
    """Any other process."""

    tier: str
    name: Annotated[
        str, msgspec.Meta(description="The cluster of a publisher, else the tier: several may share a name.")
    ]
    leader: bool
    url: Annotated[str | msgspec.UnsetType, msgspec.Meta(description="Only operators are told.")] = msgspec.UNSET


class TopologyView(msgspec.Struct, frozen=True):
    """The answer to GET /v1/topology."""

    stale_since: StaleSince
    subscribers: list[Subscriber]
    services: list[Service]


_Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]")]


# Processes of earlier releases register no `admin_url`, and answer operators at their `url`.
class _SubscriberNode(msgspec.Struct):
    url: _Url
    capacity: Annotated[int, msgspec.Meta(ge=1)]
    clients: Count
    admin_url: _Url | None = None


class _ServiceNode(msgspec.Struct):
    url: _Url
    leader: bool = False
    admin_url: _Url | None = None


class Topology:
    """Filled by `put` and `remove` with nodes of ZooKeeper as they come and go; it keeps them while ZooKeeper is away.

    A node's path is `/subscribers/<cluster>/<name>` or `/services/<tier>/<name>`. Times `now` are seconds of any one
    clock; `draw` gives numbers uniform from 0 to 1.
    """

    def __init__(self, pending_seconds: float, draw: Callable[[], float]) -> None:
        self._placement = Placement(pending_seconds, draw)
        # By cluster or tier, and name. As many as there are nodes.
        self._subscribers: dict[tuple[str, str], _SubscriberNode] = {}
        self._services: dict[tuple[str, str], _ServiceNode] = {}
        self.stale_since_ms: int | None = None

    def put(self, path: str, value: bytes) -> None:
        """Take a new node or a new value of one. Raises msgspec.DecodeError if it describes no process."""
        root, group, name = _parts(path)
        if root == SUBSCRIBERS:
            node = model.decode(value, _SubscriberNode)
            self._subscribers[group, name] = node
            self._placement.report(f"{group}/{name}", capacity=node.capacity, clients=node.clients)
        else:
            self._services[group, name] = model.decode(value, _ServiceNode)

    def remove(self, path: str) -> None:
        """A node is gone. Harmless where it was not known."""
        root, group, name = _parts(path)
        if root == SUBSCRIBERS:
            self._subscribers.pop((group, name), None)
            self._placement.remove(f"{group}/{name}")
        else:
            self._services.pop((group, name), None)

    def assign(self, now: float, exclude: Collection[str], event: str = MAIN) -> Assignment | None:
        """Where the next viewer of an event goes; None where every subscriber that is not excluded is full."""
        subscriber = self._placement.assign(now, exclude)
        if subscriber is None:
            return None
        cluster, _, name = subscriber.partition("/")
        url = self._subscribers[cluster, name].url.rstrip("/")
        base = url + event_path(event)
        return Assignment(subscriber, cluster, f"{base}/stream", f"ws{base.removeprefix('http')}/ws")

    def view(self, now: float) -> TopologyView:
        """Everything, in the order of names, for operators."""
        subscribers = [
            Subscriber(
                name=f"{cluster}/{name}",
                cluster=cluster,
                url=node.url,
                capacity=node.capacity,
                clients=node.clients,
                pending=self._placement.pending(f"{cluster}/{name}", now),
            )
            for (cluster, name), node in sorted(self._subscribers.items())
        ]
        services = [Service(tier, name, node.leader, node.url) for (tier, name), node in sorted(self._services.items())]
        return TopologyView(self.stale_since_ms, subscribers, services)

    def view_for_viewers(self, now: float) -> TopologyView:
        """The same without the addresses of services, which their names hold too: see `Service`."""
        view = self.view(now)
        services = [
            Service(each.tier, each.name.rpartition("@")[0] or each.tier, each.leader) for each in view.services
        ]
        return msgspec.structs.replace(view, services=services)

    def registered(self) -> list[RegisteredProcess]:
        """Every process, to be asked how it is. One of a cluster is named `<cluster>@<address>`, if no subscriber."""
        services = [
            RegisteredProcess(
                tier,
                name,
                node.url,
                node.admin_url or node.url,
                cluster=name.rpartition("@")[0],
                leader=node.leader,
                clients=0,
                capacity=0,
            )
            for (tier, name), node in sorted(self._services.items())
        ]
        subscribers = [
            RegisteredProcess(
                "subscriber",
                f"{cluster}/{name}",
                node.url,
                node.admin_url or node.url,
                cluster=cluster,
                leader=False,
                clients=node.clients,
                capacity=node.capacity,
            )
            for (cluster, name), node in sorted(self._subscribers.items())
        ]
        return services + subscribers


def _parts(path: str) -> tuple[str, str, str]:
    root, group, name = path.removeprefix("/").split("/")
    return f"/{root}", group, name

"""Between hosts: only who has a certificate of our CA gets in, and then does what the tables allow, and no more."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import OPEN_ACL_UNSAFE

from emostream import config, model
from emostream.client.connection import fetch
from emostream.config import AuditSettings, KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.model import DEAD_LETTER_TOPIC, REACTIONS_TOPIC, SWARMS_TOPIC, WARMUP_TOPIC
from emostream.operate import acls, rights, topics
from emostream.registry.live import LiveTopology
from emostream.runtime import tls
from emostream.runtime.coordination import connect
from emostream.runtime.http import serve_admin
from emostream.runtime.kafka import admin_client
from emostream.runtime.listener import listen_for_operators
from emostream.runtime.readiness import Readiness
from emostream.swarms.log import TRANSACTIONAL_ID
from emostream_lab.machine.certificates import Authority, Files, write_identity
from emostream_lab.processes import servers
from emostream_lab.processes.process import Process
from tests.conftest import Server, running
from tests.integration import asking
from tests.integration.closed import (
    CLUSTER_ATTEMPTS,
    CLUSTERS,
    NODE_ATTEMPTS,
    TOPIC_ATTEMPTS,
    Closed,
    acting_as,
    below,
    fence,
    find_group,
    is_allowed,
    may,
)
from tests.integration.viewers import wait_until

HOST = servers.HOST
SUBJECTS = rights.subjects(CLUSTERS.names)
TOPICS = (REACTIONS_TOPIC, WARMUP_TOPIC, SWARMS_TOPIC, DEAD_LETTER_TOPIC, *CLUSTERS.names)


def identity_of(subject: str) -> tuple[str, str]:
    """The tier and the cluster in a subject."""
    tier, _, cluster = subject.removeprefix("CN=").partition(",OU=")
    return tier, cluster


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    directory = tmp_path_factory.mktemp("closed")
    files, authority = Files(directory), Authority()
    files.ca.write_bytes(authority.certificate())
    for tier, cluster in map(identity_of, [rights.OPERATOR, rights.BROKER, "CN=zookeeper", *SUBJECTS]):
        write_identity(files.identity(tier, cluster), authority.identity(tier, cluster))
    zookeeper_port, port = servers.free_port(), servers.free_port()
    with contextlib.ExitStack() as running_servers:
        # They are asked whether they are ready.
        with acting_as(files.settings("operator")):
            process = servers.zookeeper(directory / "zookeeper", zookeeper_port, files)
            zookeeper = running_servers.enter_context(running(process, zookeeper_port))
            process = servers.kafka(directory / "kafka", port, zookeeper_port, certificates=files)
            kafka = running_servers.enter_context(running(process, port))
        yield Closed(files, authority, zookeeper, kafka)


@contextmanager
def admin_listener(settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of an admin listener of a process with this identity."""
    with (
        acting_as(settings),
        listen_for_operators(config.load(AuditSettings, admin_port=0)) as listener,
    ):
        server = serve_admin("audit", Readiness(), listener.socket)
        yield listener.url
        server.stop()


@pytest.fixture
def admin_url(closed: Closed) -> Iterator[str]:
    with admin_listener(closed.files.settings("audit")) as url:
        yield url


@dataclass(frozen=True)
class Door:
    """A port, a request that it answers, and the first byte of the answer."""

    port: int
    request: bytes
    answer: bytes


# Kafka's ApiVersions request: its length, key, version, number, and no name of a client.
_API_VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")


@pytest.fixture(params=["zookeeper", "kafka", "admin listener"])
def door(request: pytest.FixtureRequest, closed: Closed, admin_url: str) -> Door:
    doors = {
        "zookeeper": Door(closed.zookeeper.port, b"ruok", b"i"),
        "kafka": Door(closed.kafka.port, _API_VERSIONS, b"\0"),
        "admin listener": Door(urlsplit(admin_url).port or 0, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"H"),
    }
    return doors[request.param]


def first_byte(door: Door, context: ssl.SSLContext | None) -> bytes:
    """The first byte of an answer; empty if the server hangs up instead."""
    with socket.create_connection((HOST, door.port), timeout=60) as connection:
        if context is None:
            # A server that expects TLS may wait for the fifth byte.
            connection.sendall(2 * door.request)
            return connection.recv(1)
        with context.wrap_socket(connection, server_hostname=HOST) as encrypted:
            encrypted.sendall(door.request)
            return encrypted.recv(1)


def is_refused(door: Door, context: ssl.SSLContext | None) -> bool:
    """Whether the server hangs up, or refuses the handshake, before it answers."""
    try:
        return first_byte(door, context) != door.answer
    except (ssl.SSLError, ConnectionError):
        return True


def trusting(files: Files) -> ssl.SSLContext:
    """What trusts the CA, and has no certificate itself."""
    return ssl.create_default_context(cafile=files.ca)


def test_a_certificate_of_the_ca_is_let_in(closed: Closed, door: Door) -> None:
    with acting_as(closed.files.settings("audit")):
        assert first_byte(door, tls.client_context()) == door.answer


def test_plain_text_is_not_answered(door: Door) -> None:
    assert is_refused(door, None)


def test_no_certificate_is_refused(closed: Closed, door: Door) -> None:
    assert is_refused(door, trusting(closed.files))


BAD: dict[str, Callable[[Closed], bytes]] = {
    "expired": lambda closed: closed.authority.identity("operator", lifetime=timedelta(minutes=-1)),
    "of another CA": lambda _: Authority().identity("operator"),
    # An edge's certificate for viewers is of the same CA, but of servers alone.
    "for viewers": lambda closed: closed.authority.identity("haproxy", is_server_only=True),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_certificate_is_refused(closed: Closed, door: Door, what: str, tmp_path: Path) -> None:
    context = trusting(closed.files)
    write_identity(tmp_path / "bad.pem", BAD[what](closed))
    context.load_cert_chain(tmp_path / "bad.pem")
    assert is_refused(door, context)


def test_a_client_refuses_a_server_whose_certificate_is_of_another_host(closed: Closed, tmp_path: Path) -> None:
    write_identity(tmp_path / "elsewhere.pem", closed.authority.identity("audit", hosts=["elsewhere.example"]))
    elsewhere = {**closed.files.settings("audit"), "EMOSTREAM_TLS_IDENTITY_FILE": str(tmp_path / "elsewhere.pem")}
    with admin_listener(elsewhere) as url, pytest.raises(OSError, match="certificate verify failed"):
        asyncio.run(fetch(f"{url}/healthz", 30, tls.client_context()))


def test_a_process_says_when_its_certificate_expires(closed: Closed, admin_url: str) -> None:
    with acting_as(closed.files.settings("operator")):
        metrics = asyncio.run(fetch(f"{admin_url}/metrics", 30, tls.client_context()))
    assert 'emostream_tls_certificate_expiry_timestamp_seconds{subject="CN=audit"} 1.' in metrics.body.decode()


@pytest.fixture(scope="module")
def ruled(closed: Closed) -> Closed:
    """With topics and rights."""
    with acting_as(closed.files.settings("operator")):
        topics.apply(closed.kafka_settings, CLUSTERS)
        said = acls.apply(closed.kafka_settings, closed.zookeeper_settings, CLUSTERS)
    assert "CN=publisher,OU=cluster1: may write topic cluster1" in said
    assert "/emostream/subscribers/cluster2: create it; CN=subscriber,OU=cluster2 may write (children)" in said
    return closed


def apply(ruled: Closed, *, check: bool = False) -> list[str]:
    with acting_as(ruled.files.settings("operator")):
        return acls.apply(ruled.kafka_settings, ruled.zookeeper_settings, CLUSTERS, check=check)


def test_a_second_run_changes_nothing(ruled: Closed) -> None:
    assert apply(ruled, check=True) == []
    assert apply(ruled) == []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_tier_does_in_kafka_what_the_table_allows_and_nothing_else(ruled: Closed, subject: str) -> None:
    allowed: dict[tuple[str, str], set[str]] = {("topic", topic): set() for topic in TOPICS}
    allowed |= {("transactional id", TRANSACTIONAL_ID): set(), ("group", "spark-kafka-source-a"): set()}
    for right in rights.kafka_rights(CLUSTERS.names):
        if right.subject == subject:
            name = "spark-kafka-source-a" if right.resource == "group" else right.name
            allowed[right.resource, name] |= {right.operation}
            if right.resource == "topic":
                allowed["topic", name] |= {"ask for ends"}
    with (
        acting_as(ruled.files.settings(*identity_of(subject))),
        admin_client(ruled.kafka_settings.bootstrap_servers) as admin,
    ):
        assert {(kind, name): done(admin, kind, name) for kind, name in allowed} == allowed
        assert not [what for what, attempt in CLUSTER_ATTEMPTS.items() if is_allowed(lambda: attempt(admin))]  # noqa: B023


def done(admin: KafkaAdminClient, kind: str, name: str) -> set[str]:
    """What the broker lets this client do with a resource."""
    if kind == "transactional id":
        return {"write"} if is_allowed(lambda: fence(admin, name)) else set()
    if kind == "group":
        return {"read"} if is_allowed(lambda: find_group(admin, name)) else set()
    return {what for what, attempt in TOPIC_ATTEMPTS.items() if is_allowed(lambda: attempt(admin, name))}  # noqa: B023


@pytest.fixture
def operator(ruled: Closed) -> Iterator[KazooClient]:
    """A client of ZooKeeper that may do everything, at its root."""
    with acting_as(ruled.files.settings("operator")):
        client = connect(ruled.zookeeper_settings.model_copy(update={"root": ""}))
    yield client
    client.stop()
    client.close()


_WRITES = {
    "": set(),
    "children": {"make a node below", "delete a node below"},
    "content": {"write"},
    "all": set(NODE_ATTEMPTS),
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_tier_writes_in_zookeeper_what_the_table_allows_and_nothing_else(
    ruled: Closed, operator: KazooClient, subject: str
) -> None:
    nodes = rights.zookeeper_nodes(ruled.zookeeper_settings.root, CLUSTERS.names)
    allowed = {node.path: _WRITES[node.how if subject in node.writers else ""] for node in nodes}
    allowed |= {"/zookeeper": set(), "/kafka/brokers": set(), "/kafka/config/topics/swarms": set()}
    with acting_as(ruled.files.settings(*identity_of(subject))):
        client = connect(ruled.zookeeper_settings.model_copy(update={"root": ""}))
    try:
        assert {path: written(client, operator, path) for path in allowed} == allowed
    finally:
        client.stop()
        client.close()


def written(client: KazooClient, operator: KazooClient, path: str) -> set[str]:
    """What ZooKeeper lets this client do with a node, and with one below it that is another's."""
    before, _ = operator.get_acls(path)
    operator.ensure_path(below(path, "theirs"))
    assert client.get(path)[1].version >= 0
    done = {what for what, attempt in NODE_ATTEMPTS.items() if may(lambda: attempt(client, path))}  # noqa: B023
    for name in ("mine", "theirs"):
        with contextlib.suppress(NoNodeError):
            operator.delete(below(path, name))
    operator.set_acls(path, before)
    return done


def test_a_rule_that_left_the_table_goes_and_that_of_another_program_stays(ruled: Closed) -> None:
    def rule(principal: str) -> ACL:
        topic = ResourcePattern(ResourceType.TOPIC, SWARMS_TOPIC)
        return ACL(f"User:{principal}", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, topic)

    surplus, others = rule("CN=subscriber,OU=cluster9"), rule("CN=monitor")
    with (
        acting_as(ruled.files.settings("operator")),
        admin_client(ruled.kafka_settings.bootstrap_servers) as admin,
    ):
        admin.create_acls([surplus, others])
        assert apply(ruled) == ["CN=subscriber,OU=cluster9: may not write topic swarms any more"]
        everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        found, _ = admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))
        assert others in found
        assert surplus not in found
        admin.delete_acls([others])


def test_nodes_that_everybody_may_change_are_closed(ruled: Closed, operator: KazooClient) -> None:
    """As after a time without TLS."""
    for path in ("/kafka/open", "/emostream/services/ingest"):
        operator.ensure_path(path)
        operator.set_acls(path, OPEN_ACL_UNSAFE)
    assert sorted(apply(ruled)) == [
        "/emostream/services/ingest: CN=ingest may write (children)",
        "/kafka/open: CN=kafka may write",
    ]
    operator.delete("/kafka/open")


def test_the_registry_asks_admin_listeners_and_an_operator_asks_the_registry(ruled: Closed, tmp_path: Path) -> None:
    port, admin_port = servers.free_port(), servers.free_port()
    process = Process(
        "registry",
        [sys.executable, "-m", "emostream", "registry", "--port", str(port), "--admin-port", str(admin_port)],
        log_file=tmp_path / "registry.log",
        environment={"EMOSTREAM_ZOOKEEPER_HOSTS": ruled.zookeeper.address, **ruled.files.settings("registry")},
        probe=lambda: asking.get(port, "/readyz").status == 200,
    )
    url = f"https://{HOST}:{admin_port}"
    with acting_as(ruled.files.settings("operator")), running(process, port):

        def states() -> list[tuple[str, bool]]:
            answer = asyncio.run(fetch(f"{url}/v1/topology/live", 30, tls.client_context()))
            return [(each.tier, each.ready) for each in model.decode(answer.body, LiveTopology).processes]

        wait_until(lambda: states() == [("registry", True)])
        command = [sys.executable, "-m", "emostream", "status", "--registry-admin-url", url]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
        assert f"registry  {HOST}:{port}" in said


def test_a_zookeeper_that_knows_no_certificates_stays_as_it_is(zookeeper: Server) -> None:
    settings = ZooKeeperSettings(hosts=(zookeeper.address,))
    with pytest.raises(EmoStreamError, match="does it take clients by their certificates"):
        acls.apply(KafkaSettings(), settings, CLUSTERS)
    client = connect(settings.model_copy(update={"root": ""}))
    try:
        assert client.get_acls("/")[0] == OPEN_ACL_UNSAFE
        assert "kafka" not in client.get_children("/")
    finally:
        client.stop()
        client.close()


def test_only_an_operator_may_apply_them(ruled: Closed) -> None:
    with acting_as(ruled.files.settings("ingest")), pytest.raises(EmoStreamError, match=r"ZooKeeper refuses"):
        acls.apply(ruled.kafka_settings, ruled.zookeeper_settings, CLUSTERS)

"""A ZooKeeper and a broker that know their clients by certificates, and what a client tries there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    for_code,
)
from kafka.protocol.admin import IncrementalAlterConfigsRequest
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest
from kafka.protocol.metadata import FindCoordinatorRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest
from kafka.record import MemoryRecordsBuilder
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE

from emostream.config import ClustersSettings, KafkaSettings, ZooKeeperSettings
from emostream_lab.machine.certificates import Authority, Files
from tests.conftest import Server

CLUSTERS = ClustersSettings(names=("cluster1", "cluster2"))
_TOPIC = 2
_UNAUTHORIZED = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)


@dataclass(frozen=True)
class Closed:
    """The two servers, and what they are asked with."""

    files: Files
    authority: Authority
    zookeeper: Server
    kafka: Server

    @property
    def kafka_settings(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=(self.kafka.address,))

    @property
    def zookeeper_settings(self) -> ZooKeeperSettings:
        return ZooKeeperSettings(hosts=(self.zookeeper.address,))


@contextmanager
def acting_as(settings: Mapping[str, str]) -> Iterator[None]:
    """Have an identity in this block: that of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in settings.items():
            patch.setenv(variable, value)
        yield


def _read(admin: KafkaAdminClient, topic: str) -> int:
    part = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1, "current_leader_epoch": -1}
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=1,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[FetchRequest.FetchTopic.FetchPartition(**part)])],
        # Later ones name topics by their ids.
        max_version=12,
    )
    answer = _send(admin, request)
    return int(answer.error_code or answer.responses[0].partitions[0].error_code)


def _ask_for_ends(admin: KafkaAdminClient, topic: str) -> int:
    partition = ListOffsetsRequest.ListOffsetsTopic.ListOffsetsPartition(partition_index=0, timestamp=-1)
    asked = ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[partition])
    return int(_send(admin, ListOffsetsRequest(topics=[asked])).topics[0].partitions[0].error_code)


def _write(admin: KafkaAdminClient, topic: str) -> int:
    records = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1_000)
    records.append(timestamp=0, key=None, value=b"anything")
    records.close()
    data = ProduceRequest.TopicProduceData
    partition = data.PartitionProduceData(index=0, records=records.buffer())
    request = ProduceRequest(
        acks=-1, timeout_ms=10_000, topic_data=[data(name=topic, partition_data=[partition])], max_version=11
    )
    return int(_send(admin, request).responses[0].partition_responses[0].error_code)


def _send(admin: KafkaAdminClient, request: Any) -> Any:
    return admin._manager.run(admin._manager.send, request)


def fence(admin: KafkaAdminClient, transactional_id: str) -> int:
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=10_000)
    return int(_send(admin, request).error_code)


def find_group(admin: KafkaAdminClient, group: str) -> int:
    answer = _send(admin, FindCoordinatorRequest(key_type=0, coordinator_keys=[group]))
    return int(answer.coordinators[0].error_code)


def _configure(admin: KafkaAdminClient, topic: str) -> int:
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource
    change = resource.AlterableConfig(name="retention.ms", config_operation=0, value="1")
    resources = [resource(resource_type=_TOPIC, resource_name=topic, configs=[change])]
    return int(_send(admin, IncrementalAlterConfigsRequest(resources=resources)).responses[0].error_code)


# By the name in the table, or, where no tier may do it, by any.
TOPIC_ATTEMPTS: dict[str, Callable[[KafkaAdminClient, str], object]] = {
    "read": _read,
    "write": _write,
    "ask for ends": _ask_for_ends,
    "delete": lambda admin, topic: admin.delete_topics([topic]),
    "grow": lambda admin, topic: admin.create_partitions({topic: 9}),
    "configure": _configure,
}


def _allow_everything(admin: KafkaAdminClient) -> object:
    everything = ResourcePattern(ResourceType.CLUSTER, "kafka-cluster")
    [failed] = admin.create_acls([ACL("User:*", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, everything)])["failed"]
    raise failed


CLUSTER_ATTEMPTS: dict[str, Callable[[KafkaAdminClient], object]] = {
    "make a topic": lambda admin: admin.create_topics([NewTopic("another", 1, 1)]),
    "give itself rights": _allow_everything,
}


def is_allowed(attempt: Callable[[], object]) -> bool:
    """Whether Kafka lets a client try; what comes of it does not matter."""
    try:
        answer = attempt()
    except _UNAUTHORIZED:
        return False
    return not (isinstance(answer, int) and for_code(answer) in _UNAUTHORIZED)


def below(node: str, name: str) -> str:
    return f"{node.rstrip('/')}/{name}"


NODE_ATTEMPTS: dict[str, Callable[[KazooClient, str], object]] = {
    "make a node below": lambda client, node: client.create(below(node, "mine")),
    "delete a node below": lambda client, node: client.delete(below(node, "theirs")),
    "write": lambda client, node: client.set(node, b"mine"),
    "decide who may write": lambda client, node: client.set_acls(node, OPEN_ACL_UNSAFE),
}


def may(attempt: Callable[[], object]) -> bool:
    """Whether ZooKeeper lets a client do it."""
    try:
        attempt()
    except NoAuthError:
        return False
    return True

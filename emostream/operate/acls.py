"""`emostream acls apply`: brings about in Kafka and ZooKeeper what rights.py says, and takes away what it does not say.

Both must know their clients by certificates (docs/security.md). Whoever applies it must be an operator to both.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

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
from kafka.errors import SecurityDisabledError, for_code
from kafka.protocol.admin import AlterClientQuotasRequest, DescribeClientQuotasRequest
from kazoo.client import KazooClient
from kazoo.exceptions import InvalidACLError, NoAuthError, NoNodeError
from kazoo.security import OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, make_acl

from emostream.config import ClustersSettings, KafkaSettings, ZooKeeperSettings
from emostream.errors import EmoStreamError
from emostream.operate import rights
from emostream.operate.rights import Node, Right
from emostream.operate.topics import topics_by_brokers
from emostream.runtime.coordination import connect
from emostream.runtime.kafka import admin_client, explained_errors

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {"read": ACLOperation.READ, "write": ACLOperation.WRITE}
_PATTERNS = {False: ACLResourcePatternType.LITERAL, True: ACLResourcePatternType.PREFIXED}
_PERMISSIONS = {
    "children": {"create": True, "delete": True, "read": True},
    "content": {"write": True, "read": True},
    "all": {"all": True},
}
_ANY_NAME = 2


def apply(
    kafka: KafkaSettings, zookeeper: ZooKeeperSettings, clusters: ClustersSettings, *, check: bool = False
) -> list[str]:
    """Do (or with `check` only find) what is needed, and say it, a sentence a change; none where all is as wanted.

    Rules and quotas of other identities stay. Raises EmoStreamError where a server refuses.
    """
    names = list(clusters.names)
    done = _apply_to_zookeeper(zookeeper, rights.zookeeper_nodes(zookeeper.root, names), check=check)
    for brokers, topics in topics_by_brokers(kafka, clusters).items():
        wanted = [right for right in rights.kafka_rights(names) if right.resource != "topic" or right.name in topics]
        with admin_client(brokers) as admin, explained_errors(brokers):
            done += _apply_rights(admin, wanted, check=check)
            done += _apply_quotas(admin, rights.quotas(names), check=check)
    return done


def _apply_rights(admin: KafkaAdminClient, wanted: Sequence[Right], *, check: bool) -> list[str]:
    new = {_acl(right): right for right in wanted}
    found = {acl for acl in _found_acls(admin) if _is_ours(acl)}
    missing, surplus = [acl for acl in new if acl not in found], [acl for acl in found if acl not in new]
    if not check:
        if missing and (failed := admin.create_acls(missing)["failed"]):
            raise failed[0]
        admin.delete_acls(surplus)
    added = [f"{new[acl].subject}: may {new[acl].operation} {new[acl].resource} {new[acl].names}" for acl in missing]
    return added + sorted(f"{_subject(acl)}: may not {_described(acl)} any more" for acl in surplus)


def _acl(right: Right) -> ACL:
    pattern = ResourcePattern(_RESOURCES[right.resource], right.name, _PATTERNS[right.is_prefix])
    operation = _OPERATIONS[right.operation]
    return ACL(f"User:{right.subject}", "*", operation, ACLPermissionType.ALLOW, pattern)


def _found_acls(admin: KafkaAdminClient) -> list[ACL]:
    everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    try:
        found, _ = admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))
    except SecurityDisabledError:
        raise EmoStreamError(
            "the brokers do not ask who may do what: set `authorizer.class.name` and TLS in server.properties, as "
            "docs/security.md shows."
        ) from None
    return list(found)


def _is_ours(acl: ACL) -> bool:
    """Whether it is for a tier, in whatever cluster. Others, such as those of a monitor, are not for us to remove."""
    return _subject(acl).partition(",")[0] in {each.partition(",")[0] for each in rights.subjects([""])}


def _subject(acl: ACL) -> str:
    return str(acl.principal).removeprefix("User:")


def _described(acl: ACL) -> str:
    pattern = acl.resource_pattern
    resource = pattern.resource_type.name.lower().replace("_", " ")
    prefix = "*" if pattern.pattern_type == ACLResourcePatternType.PREFIXED else ""
    return f"{acl.operation.name.lower()} {resource} {pattern.resource_name}{prefix}"


def _apply_quotas(admin: KafkaAdminClient, wanted: dict[str, Any], *, check: bool) -> list[str]:
    found = _found_quotas(admin)
    changes = {
        subject: {name: value for name, value in quota.items() if found.get(subject, {}).get(name) != value}
        for subject, quota in wanted.items()
    }
    needed = {subject: quota for subject, quota in changes.items() if quota}
    if needed and not check:
        answer = _send(admin, AlterClientQuotasRequest(entries=[_entry(*each) for each in needed.items()]))
        for entry in answer.entries:
            if entry.error_code:
                raise for_code(entry.error_code)(entry.error_message)
    return [
        f"{subject}: at most " + ", ".join(f"{name}={value:,.0f}" for name, value in quota.items())
        for subject, quota in needed.items()
    ]


def _entry(subject: str, quota: dict[str, float]) -> Any:
    entry = AlterClientQuotasRequest.EntryData
    operations = [entry.OpData(key=name, value=value, remove=False) for name, value in quota.items()]
    return entry(entity=[entry.EntityData(entity_type="user", entity_name=subject)], ops=operations)


def _found_quotas(admin: KafkaAdminClient) -> dict[str, dict[str, float]]:
    users = DescribeClientQuotasRequest.ComponentData(entity_type="user", match_type=_ANY_NAME, match=None)
    answer = _send(admin, DescribeClientQuotasRequest(components=[users], strict=True))
    if answer.error_code:
        raise for_code(answer.error_code)(answer.error_message)
    return {
        entry.entity[0].entity_name: {value.key: value.value for value in entry.values}
        for entry in answer.entries or ()
    }


def _send(admin: KafkaAdminClient, request: Any) -> Any:
    """kafka-python has these messages, and no method of its admin client for them."""
    return admin._manager.run(admin._manager.send, request)


def _apply_to_zookeeper(settings: ZooKeeperSettings, nodes: Sequence[Node], *, check: bool) -> list[str]:
    client = connect(settings.model_copy(update={"root": ""}))
    try:
        done = [sentence for node in nodes for sentence in _apply_to_node(client, node, check=check)]
        return done + list(_close_other_nodes(client, f"{settings.root}/", nodes, check=check))
    except (NoAuthError, InvalidACLError) as error:
        raise EmoStreamError(
            f"ZooKeeper refuses to be told who may do what ({type(error).__name__}): does it take clients by their "
            f"certificates, is {rights.OPERATOR} its X509AuthenticationProvider.superUser, and is this the "
            "certificate of that name?"
        ) from error
    finally:
        client.stop()
        client.close()


def _apply_to_node(client: KazooClient, node: Node, *, check: bool) -> Iterator[str]:
    acls = _node_acls(node.writers, _PERMISSIONS[node.how])
    writers = " and ".join(node.writers) or "nobody but operators"
    if not client.exists(node.path):
        if not check:
            client.create(node.path, b"", acls)
        yield f"{node.path}: create it; {writers} may write ({node.how})"
    elif set(client.get_acls(node.path)[0]) != set(acls):
        if not check:
            client.set_acls(node.path, acls)
        yield f"{node.path}: {writers} may write ({node.how})"


def _close_other_nodes(client: KazooClient, ours: str, nodes: Sequence[Node], *, check: bool) -> Iterator[str]:
    """Close nodes that everybody may change, as before TLS, and those below `ours` that are in no table any more.

    Kafka's nodes become Kafka's. A node that goes with its session stays as it is: its owner makes it again.
    """
    known = {node.path for node in nodes}
    for path in [path for path in _below(client, "/") if path not in known]:
        with contextlib.suppress(NoNodeError):
            acls, stat = client.get_acls(path)
            above = [node for node in nodes if node.how == "all" and path.startswith(f"{node.path}/")]
            owners = above[0].writers if above else ()
            wanted = _node_acls(owners, _PERMISSIONS["all"])
            if stat.ephemeralOwner or acls == wanted or not (acls == OPEN_ACL_UNSAFE or path.startswith(ours)):
                continue
            if not check:
                client.set_acls(path, wanted)
            yield f"{path}: {' and '.join(owners) or 'nobody but operators'} may write"


def _below(client: KazooClient, path: str) -> Iterator[str]:
    try:
        names = client.get_children(path)
    except NoNodeError:
        return
    for name in names:
        below = f"{path.rstrip('/')}/{name}"
        yield below
        yield from _below(client, below)


def _node_acls(writers: Sequence[str], permissions: dict[str, bool]) -> list[Any]:
    return [*READ_ACL_UNSAFE, *(make_acl("x509", writer, **permissions) for writer in writers)]

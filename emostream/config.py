"""Every setting of every tier: its type, unit, default and meaning, each one an environment variable.

A section is a class; the field `linger_ms` of section `INGEST` is the variable `EMOSTREAM_INGEST_LINGER_MS`. A tier
reads its own section and the shared ones that `TIERS` names. Lists are comma-separated. `emostream config show TIER`
prints them all.
"""

import difflib
import ipaddress
import os
import socket
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from emostream.errors import ConfigurationError
from emostream.model import MAIN, is_event_id

PREFIX = "EMOSTREAM_"

Port = Annotated[int, Field(ge=0, le=65535)]
DRIVER_PORTS = 10
"""How many ports an aggregator's starts take in turn."""


def _cluster_name(name: str) -> str:
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a cluster's name is also a topic's name: use letters, digits, - and _ only")
    return name


ClusterName = Annotated[str, AfterValidator(_cluster_name)]


def _ip_address(text: str) -> str:
    """The IP address itself, or the one that the name resolves to (its first IPv4 address, else its first one)."""
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(text or "nothing.invalid", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ValueError("it is neither an IP address nor a name that this host resolves to one") from None
    addresses = [str(address[0]) for family, *_, address in found if family == socket.AF_INET]
    return (addresses or [str(found[0][-1][0])])[0]


BindAddress = Annotated[str, AfterValidator(_ip_address)]
OptionalUrl = Annotated[str, Field(pattern=r"^($|https?://)")]
CommaSeparated = Annotated[tuple[str, ...], NoDecode]
# What the two Flask tiers bound alike.
MaxConnections = Annotated[
    int,
    Field(ge=1, description="Most open connections; others wait to be accepted. Each may hold 20 KiB of a head."),
]
MaxReceivingBytes = Annotated[
    int,
    Field(
        description="Most bytes of bodies that are being received; above it a request gets 503. A quarter is reserved "
        "for bodies up to 4 KiB."
    ),
]
# What every tier that counts by event bounds alike.
MaxEventLabels = Annotated[
    int,
    Field(
        ge=0,
        description="Most events besides `main` with a label of their own in the metrics: those that were opened "
        "first. The others are summed as `_other`.",
    ),
]


class Section(BaseSettings):
    """A group of settings that share a prefix."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=False)

    title: ClassVar[str]

    @field_validator("*", mode="before")
    @classmethod
    def _split_lists(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str) and get_origin(cls.model_fields[info.field_name].annotation) is tuple:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of one field."""
        return f"{cls.model_config['env_prefix']}{field}".upper()

    def check_files(self) -> None:
        """Read the files that the settings name. Raises ValueError with the setting, and with what is wrong."""

    def _check_reachable(self, host: str, advertised_url: str) -> None:
        """Raises ValueError where the field `host` is every address, and `advertised_url` names none of them."""
        if is_every_address(getattr(self, host)) and not getattr(self, advertised_url):
            raise ValueError(
                f"{self.variable(host)}={getattr(self, host)} binds every address of this host, so others do not know "
                f"which one to connect to: set {self.variable(advertised_url)} to the URL by which they reach it."
            )


def is_every_address(host: str) -> bool:
    """Whether to bind this address is to bind all that the host has."""
    return ipaddress.ip_address(host).is_unspecified


def url(host: str, port: int, scheme: str = "http") -> str:
    """`http://host:port`, with the brackets that an IPv6 address needs."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def address_of(url: str) -> str:
    """The `host:port` of a URL."""
    return urlsplit(url).netloc


class PublicListener(Section):
    """Where a tier answers viewers and their load balancers."""

    host: BindAddress = Field("127.0.0.1", description="Address to bind: an IP address, or a name of one.")
    port: Port = Field(0, description="Port to bind.")
    advertised_url: OptionalUrl = Field("", description="URL by which others reach it; empty: `http://host:port`.")

    @model_validator(mode="after")
    def _check_public_listener(self) -> Self:
        self._check_reachable("host", "advertised_url")
        return self


class AdminListener(Section):
    """Where a process tells operators how it is: /readyz with reasons, and /metrics."""

    admin_host: BindAddress = Field(
        "127.0.0.1", description="Address of the admin listener (health, metrics): an IP address, or a name of one."
    )
    admin_port: Port = Field(0, description="Port of the admin listener.")
    admin_advertised_url: OptionalUrl = Field(
        "", description="Where the registry reaches the admin listener; empty: `http://admin_host:admin_port`."
    )

    @model_validator(mode="after")
    def _check_admin_listener(self) -> Self:
        self._check_reachable("admin_host", "admin_advertised_url")
        return self


class LogSettings(Section):
    """How every process logs."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}LOG_")
    title: ClassVar[str] = "logging"

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="`json`: one object a line; `text`: for people; `auto`: text on a terminal, else JSON.",
    )


class TlsSettings(Section):
    """The identity that a process shows to Kafka, ZooKeeper and admin listeners; without it, nothing is encrypted."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}TLS_")
    title: ClassVar[str] = "TLS between hosts"

    ca_file: str = Field(
        "",
        description="File with the certificate of the CA whose certificates count, in the format PEM; empty: none.",
    )
    identity_file: str = Field(
        "",
        description="File with the private key of the process (PKCS #8) and its certificate, both in the format PEM.",
    )

    @property
    def is_on(self) -> bool:
        return bool(self.ca_file)

    @model_validator(mode="after")
    def _check_both(self) -> Self:
        if bool(self.ca_file) != bool(self.identity_file):
            raise ValueError(f"set both {self.variable('ca_file')} and {self.variable('identity_file')}, or neither.")
        return self

    def check_files(self) -> None:
        if self.is_on:
            # What reads certificates takes a while to load.
            from emostream.runtime import tls  # noqa: PLC0415

            tls.check_files(self.ca_file, self.identity_file)


class KafkaSettings(Section):
    """The brokers of `reactions` and `swarms`, and the topics' names and sizes."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}KAFKA_")
    title: ClassVar[str] = "Kafka"

    bootstrap_servers: CommaSeparated = Field(
        ("127.0.0.1:9092",), min_length=1, description="Brokers to ask first, `host:port`, comma-separated."
    )
    replication_factor: int = Field(
        1, ge=1, description="Copies of each partition; 3 survive the loss of a broker's disk."
    )
    min_insync_replicas: int = Field(1, ge=1, description="Copies that must have a record before it is acknowledged.")
    reactions_partitions: int = Field(4, ge=1, description="Partitions of `reactions`: most parallel readers.")
    reactions_retention_ms: int = Field(
        24 * 3_600_000,
        ge=60_000,
        description="Age at which `reactions` are deleted; a longer outage of the aggregator loses some.",
    )
    reactions_retention_bytes: int = Field(
        4 << 30,
        ge=1 << 20,
        description="Size above which a partition of `reactions` loses its oldest records, so that no disk is full. It "
        "must hold what comes while the aggregator is away.",
    )
    swarms_retention_bytes: int = Field(
        1 << 30,
        ge=1 << 20,
        description="Size above which `swarms` and each cluster's topic lose their oldest records.",
    )
    max_record_bytes: int = Field(
        4 << 20,
        ge=1 << 20,
        description="Largest record of any topic; a larger one is refused by the broker. It bounds how many events may "
        "be open: the default has room for 1,000 of 32 emoji.",
    )


class ZooKeeperSettings(Section):
    """Where elections are held and processes are registered."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}ZOOKEEPER_")
    title: ClassVar[str] = "ZooKeeper"

    hosts: CommaSeparated = Field(
        ("127.0.0.1:2181",), min_length=1, description="The ensemble, `host:port`, comma-separated."
    )
    # The server ends a session at the first of its ticks after this time: with a tick of 1 s, in 6 s at most.
    session_timeout_ms: int = Field(
        5_000,
        ge=4_000,
        le=60_000,
        description="Silence after which a process counts as dead and its ephemeral nodes go.",
    )
    root: str = Field("/emostream", pattern=r"^(/[^/]+)+$", description="The node above all nodes of EmoStream.")


class ClustersSettings(Section):
    """Which clusters of subscribers there are."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}CLUSTERS_")
    title: ClassVar[str] = "clusters"

    names: Annotated[tuple[ClusterName, ...], NoDecode] = Field(
        ("cluster1", "cluster2", "cluster3"),
        min_length=1,
        description="Each has a topic, a publisher and subscribers.",
    )
    brokers: CommaSeparated = Field(
        (),
        description="Brokers of clusters whose topic is not where `swarms` is: `cluster2=host:port`, comma-separated, "
        "once a broker.",
    )

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, entries: tuple[str, ...], info: Any) -> tuple[str, ...]:
        for entry in entries:
            cluster, _, address = entry.partition("=")
            if cluster not in info.data.get("names", (cluster,)) or ":" not in address:
                raise ValueError(f"{entry!r} is not the name of a cluster, =, host:port")
        return entries

    def brokers_of(self, cluster: str) -> tuple[str, ...]:
        """The cluster's own brokers; empty where its topic is beside `swarms`."""
        return tuple(entry.partition("=")[2] for entry in self.brokers if entry.partition("=")[0] == cluster)


class TokensSettings(Section):
    """The tokens (JWT) that say who may react and watch. Without a key, everybody may."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}TOKENS_")
    title: ClassVar[str] = "tokens"

    secret_file: str = Field(
        "",
        description="File with secrets of 32 or more characters, one a line: tokens are signed with HS256. All are "
        "accepted, and the first one signs. A file that changes is read again.",
    )
    jwks_file: str = Field(
        "",
        description="File with public keys as a JSON Web Key Set, in place of secrets: tokens are signed by somebody "
        "else, with RS256, ES256 or EdDSA. A file that changes is read again.",
    )
    audience: str = Field("emostream", min_length=1, description="What a token must name as its `aud`.")
    leeway_seconds: int = Field(10, ge=0, le=300, description="How far the clock of who signs may differ from ours.")
    max_cached: int = Field(
        20_000, ge=1, description="Most tokens whose signature is remembered; each takes up to 5 KiB, most take 1 KiB."
    )
    guests: bool = Field(
        False,
        description="Whether the registry gives anybody a token of a guest, who may react and watch; needs "
        "`secret_file`.",
    )
    guest_seconds: int = Field(3_600, ge=10, description="How long a guest's token is valid.")
    jitter_seconds: int = Field(
        30,
        ge=0,
        description="A stream ends when its token has expired, and up to this much later, so that not all end at once.",
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.secret_file and self.jwks_file:
            raise ValueError(f"set either {self.variable('secret_file')} or {self.variable('jwks_file')}, not both")
        if self.guests and not self.secret_file:
            raise ValueError(f"{self.variable('guests')} needs {self.variable('secret_file')}, to sign their tokens")
        return self


class IngestSettings(AdminListener, PublicListener):
    """The API that takes reactions."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}INGEST_")
    title: ClassVar[str] = "ingest"

    port: Port = Field(8000, description="Port to bind.")
    admin_port: Port = Field(8010, description="Port of the admin listener.")
    palette: CommaSeparated = Field(
        ("default",),
        min_length=1,
        description="Allowed emoji, comma-separated; `default`: 32 common ones; `any`: every emoji.",
    )
    linger_ms: float = Field(
        5,
        ge=0,
        le=1_000,
        description="How long the first request of a group waits for others to share its Kafka record.",
    )
    max_group_bytes: int = Field(
        256 << 10, ge=1 << 10, description="Size at which a group is closed before `linger_ms` is over."
    )
    deadline_ms: int = Field(
        5_000, ge=100, description="How long a request waits for Kafka's acknowledgement before it gets 504."
    )
    max_requests_in_flight: int = Field(
        4_000,
        ge=1,
        description="Most requests that Kafka has not acknowledged yet; above it a new one gets 503 at once.",
    )
    max_bytes_in_flight: int = Field(
        32 << 20,
        ge=1 << 20,
        description="Most bytes that Kafka has not acknowledged yet; above it a new request gets 503 at once.",
    )
    max_body_bytes: int = Field(
        1 << 20, ge=1 << 10, le=1 << 20, description="Largest request body; a larger one gets 413."
    )
    body_timeout_ms: int = Field(
        5_000, ge=100, description="How long a client may take to send its body before it gets 408."
    )
    max_receiving_bytes: MaxReceivingBytes = Field(32 << 20, ge=2 << 20)
    max_connections: MaxConnections = 5_000
    max_event_labels: MaxEventLabels = 100
    user_reactions_per_second: float = Field(
        0,
        ge=0,
        description="Most reactions of one user, on average; more get 429. 0: any number. It needs tokens, since "
        "without them everybody may take any name. A relay has no limit.",
    )
    user_burst_reactions: int = Field(
        100, ge=1, le=1_000_000, description="Most reactions of one user at once, and in one request."
    )
    max_limited_users: int = Field(
        100_000,
        ge=2,
        description="Most users whose reactions are counted for that limit; above it the oldest are forgotten, and may "
        "send a burst again. Each takes 150 bytes.",
    )
    drain_timeout_ms: int = Field(
        10_000, ge=0, description="After SIGTERM: how long requests in flight may take to be acknowledged."
    )
    cors_origins: CommaSeparated = Field(
        ("*",), description="Origins of pages that may send reactions, comma-separated; `*` for any."
    )

    @field_validator("palette")
    @classmethod
    def _check_palette(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        # Only ingest needs to know the emoji, which take a while to load.
        from emostream import palette  # noqa: PLC0415

        palette.accepted(words)
        return words


class AggregatorSettings(AdminListener):
    """The Spark driver that makes a swarm of each micro-batch."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}AGGREGATOR_")
    title: ClassVar[str] = "aggregator"

    admin_port: Port = Field(8002, description="Port of the admin listener.")
    host: BindAddress = Field(
        "127.0.0.1", description="Address at which Spark's executors call the driver back: an IP address, or a name."
    )
    spark_master: str = Field("spark://127.0.0.1:7077", description="The standalone master, or `local[2]` for none.")
    driver_port: int = Field(
        0,
        ge=0,
        le=65_536 - DRIVER_PORTS,
        description=f"First of the {DRIVER_PORTS} ports on which executors reach the driver; 0 for any. Each start "
        "takes the next one, so that Spark's master does not take the new driver for the one before.",
    )
    block_manager_port: Port = Field(0, description="Port of the driver's and executors' block managers; 0 for any.")
    spark_secret_file: str = Field(
        "", description="File with the secret of `spark.authenticate`; empty: no authentication."
    )
    connector_jars_dir: str = Field("build/jars/spark", description="Folder with Spark's Kafka connector.")
    work_dir: str = Field(
        "build/aggregator", description="Folder for scratch checkpoints; nothing in it needs to survive."
    )
    trigger_ms: int = Field(2_000, ge=250, le=60_000, description="Time between micro-batches, and so between swarms.")
    max_records_per_trigger: int = Field(
        20_000,
        ge=100,
        description="Most records of `reactions` in one micro-batch; catching up may take several.",
    )
    cores: int = Field(1, ge=1, description="Cores that the driver takes from the master; leave room for a successor.")
    executor_memory_mib: int = Field(512, ge=256, description="Heap of an executor.")
    driver_memory_mib: int = Field(512, ge=256, description="Heap of the driver's JVM.")
    executor_compiler: Literal["full", "quick"] = Field(
        "full",
        description="How executors compile their code, or the driver of a `local` master: `quick` halves the work of a "
        "start, which helps on few busy cores, and lowers the highest rate of reactions.",
    )
    class_archive: str = Field(
        "",
        description="File with the classes of Spark as the JVM needs them in memory. With it, the driver and the "
        "executors start with half of the work. One that does not fit the Java or the jars is ignored; empty: none.",
    )
    compression_ratio: int = Field(1_000, ge=1, description="Reactions of one emoji that a viewer sees as one.")
    compression_rule: Literal["ceil", "floor"] = Field(
        "ceil", description="How a remainder is shown: `ceil` rounds up; `floor` rounds down, but to 1 at least."
    )
    transaction_timeout_ms: int = Field(
        10_000,
        ge=1_000,
        le=900_000,
        description="Age at which the broker aborts a transaction that was left open. By default, brokers take at most "
        "15 minutes.",
    )
    max_event_labels: MaxEventLabels = 100

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if is_every_address(host):
            raise ValueError("executors get this address, so set one that they can reach")
        return host


class PublisherSettings(AdminListener):
    """The relay from `swarms` to one cluster's topic."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}PUBLISHER_")
    title: ClassVar[str] = "publisher"

    cluster: ClusterName = Field("cluster1", description="The cluster whose topic this relay fills.")
    bootstrap_servers: CommaSeparated = Field(
        (), description="The cluster's own brokers, if its topic is not where `swarms` is."
    )
    admin_port: Port = Field(8101, description="Port of the admin listener.")


class SubscriberSettings(AdminListener, PublicListener):
    """The edge server that holds viewers' connections."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}SUBSCRIBER_")
    title: ClassVar[str] = "subscriber"

    cluster: ClusterName = Field("cluster1", description="The cluster whose topic this subscriber reads.")
    name: str = Field("", description="Unique in its cluster; empty: the port.")
    bootstrap_servers: CommaSeparated = Field(
        (), description="The cluster's own brokers, if its topic is not where `swarms` is."
    )
    port: Port = Field(9001, description="Port to bind.")
    advertised_url: OptionalUrl = Field("", description="URL that viewers get; empty: `http://host:port`.")
    admin_port: Port = Field(0, description="Port of the admin listener; 0: `port` + 1000.")
    capacity: int = Field(1_000, ge=1, description="Most viewers; one more gets 503.")
    history_seconds: int = Field(600, ge=1, description="How far back a viewer that lost its connection can resume.")
    max_history_bytes: int = Field(
        64 << 20,
        ge=1 << 20,
        description="Largest size of the history in all encodings; above it the oldest swarms go before "
        "`history_seconds` are over.",
    )
    max_viewer_buffer_bytes: int = Field(
        64 << 10,
        ge=4 << 10,
        description="Most unread bytes buffered for one viewer. When it reads again, it continues from the history, or "
        "gets a `reset` if the history no longer holds its next swarm.",
    )
    compression: bool = Field(
        True, description="Compress messages for viewers that accept it: about half of the bytes for the same work."
    )
    max_ahead_seconds: int = Field(
        60,
        ge=1,
        description="How long a viewer that has seen newer swarms elsewhere waits for them here before its `reset`. "
        "If it is ahead by more than four swarms for each of these seconds, it gets the `reset` at once.",
    )
    slow_viewer_timeout_ms: int = Field(
        30_000, ge=1_000, description="How long a viewer may read nothing at all before it is closed as slow."
    )
    vanished_viewer_timeout_ms: int = Field(
        40_000,
        ge=1_000,
        description="How long a viewer's machine may acknowledge nothing, as without a network, before the seat is "
        "free. On Linux; never less than `slow_viewer_timeout_ms` and 5 s.",
    )
    heartbeat_ms: int = Field(
        3_000,
        ge=100,
        description="Silence after which a viewer gets a heartbeat. Clients that ask for it get this time in `hello`.",
    )
    retry_ms: int = Field(2_000, ge=0, description="Mean of the jittered delay before a viewer connects again.")
    max_event_labels: MaxEventLabels = 100
    handshake_timeout_ms: int = Field(5_000, ge=100, description="How long a client may take to send its request.")
    drain_timeout_ms: int = Field(
        5_000, ge=0, description="After SIGTERM: time over which the viewers' goodbyes are spread."
    )
    cors_origins: CommaSeparated = Field(
        ("*",), description="Origins of pages that may watch, comma-separated; `*` for any."
    )


class RegistrySettings(AdminListener, PublicListener):
    """The API that tells a viewer where to connect, and serves the page."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}REGISTRY_")
    title: ClassVar[str] = "registry"

    port: Port = Field(8001, description="Port to bind.")
    admin_port: Port = Field(8011, description="Port of the admin listener.")
    ingest_url: OptionalUrl = Field(
        "http://127.0.0.1:8000", description="Where the page sends reactions; empty: where it came from."
    )
    public_live_topology: bool = Field(
        False,
        description="Whether everybody may see the address, state and figures of every process, as the page shows them "
        "behind the scenes.",
    )
    pending_seconds: float = Field(
        10, gt=0, description="How long an assignment counts as load although its viewer has not connected."
    )
    max_pending_per_address: int = Field(
        0,
        ge=0,
        description="Most assignments, and most tokens of guests, that one address gets in `pending_seconds`; more get "
        "429. 0: any number. A relay has no limit.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses and networks of proxies in front, comma-separated. The address of a viewer comes from "
        "`X-Forwarded-For` only if one of them has written it.",
    )
    max_receiving_bytes: MaxReceivingBytes = Field(8 << 20, ge=128 << 10)
    max_connections: MaxConnections = 5_000
    cors_origins: CommaSeparated = Field(
        ("*",), description="Origins of pages that may ask, comma-separated; `*` for any."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy)
        return proxies


class AuditSettings(AdminListener):
    """The auditor, which checks that each reaction was counted once."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}AUDIT_")
    title: ClassVar[str] = "audit"

    admin_port: Port = Field(8003, description="Port of the admin listener.")


class CanarySettings(AdminListener):
    """The canary, which reacts now and then and times how long each cluster takes to show it."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}CANARY_")
    title: ClassVar[str] = "canary"

    admin_port: Port = Field(8004, description="Port of the admin listener.")
    event: str = Field(
        "emostream-canary", description="The event that it opens, unlisted, and reacts to. Nobody else may do so."
    )
    # It tells reactions apart by their emoji, of which there are 32.
    interval_ms: int = Field(10_000, ge=1_000, description="Time between its reactions.")
    timeout_ms: int = Field(
        30_000, ge=1_000, le=30_000, description="Time after which a reaction counts as one that was not seen."
    )

    @field_validator("event")
    @classmethod
    def _check_event(cls, event: str) -> str:
        if event == MAIN or not is_event_id(event):
            raise ValueError(f"{event!r} is no id of an event that can be opened")
        return event


class ClientSettings(Section):
    """The terminal client, and the simulated viewers."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}CLIENT_")
    title: ClassVar[str] = "client"

    registry_url: str = Field("http://127.0.0.1:8001", pattern=r"^https?://", description="The registry.")
    registry_admin_url: str = Field(
        "http://127.0.0.1:8011", pattern=r"^https?://", description="The registry's admin listener."
    )
    ingest_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://", description="Where reactions are sent.")
    token_file: str = Field(
        "",
        description="File with a token, read again when that has expired; empty: `EMOSTREAM_TOKENS_SECRET_FILE` signs "
        "one, where it is set.",
    )
    ca_file: str = Field(
        "",
        description="File with the CAs, in the format PEM, whose certificates the servers of viewers may have; empty: "
        "those of the system.",
    )


# Which sections a tier reads: what `emostream config show|check TIER` covers.
TIERS: dict[str, tuple[type[Section], ...]] = {
    "ingest": (IngestSettings, KafkaSettings, ZooKeeperSettings, TokensSettings, TlsSettings, LogSettings),
    "aggregator": (AggregatorSettings, KafkaSettings, ZooKeeperSettings, TlsSettings, LogSettings),
    "publisher": (PublisherSettings, KafkaSettings, ZooKeeperSettings, TlsSettings, LogSettings),
    "subscriber": (SubscriberSettings, KafkaSettings, ZooKeeperSettings, TokensSettings, TlsSettings, LogSettings),
    "registry": (RegistrySettings, ZooKeeperSettings, TokensSettings, TlsSettings, LogSettings),
    "audit": (AuditSettings, KafkaSettings, ZooKeeperSettings, TlsSettings, LogSettings),
    "canary": (
        CanarySettings,
        ClientSettings,
        TokensSettings,
        ClustersSettings,
        KafkaSettings,
        ZooKeeperSettings,
        TlsSettings,
        LogSettings,
    ),
    "client": (ClientSettings, TokensSettings, LogSettings),
    "status": (ClientSettings, ClustersSettings, TlsSettings, LogSettings),
    "topics": (ClustersSettings, KafkaSettings, ZooKeeperSettings, TlsSettings, LogSettings),
    "backup": (ClustersSettings, KafkaSettings, ZooKeeperSettings, TlsSettings, LogSettings),
    "acls": (ClustersSettings, KafkaSettings, ZooKeeperSettings, TlsSettings, LogSettings),
    "events": (ZooKeeperSettings, KafkaSettings, TlsSettings, LogSettings),
    "crowd": (ClientSettings, TokensSettings, KafkaSettings, TlsSettings, LogSettings),
    "tokens": (TokensSettings, LogSettings),
    "trace": (KafkaSettings, TlsSettings, LogSettings),
}
SECTIONS: tuple[type[Section], ...] = tuple(dict.fromkeys(section for tier in TIERS.values() for section in tier))

# Read by the Vagrantfile alone, but they may stand in the environment of a tier too.
FOREIGN_VARIABLES = frozenset({"EMOSTREAM_DEBIAN", "EMOSTREAM_INVENTORY"})

# Settings of earlier releases, each with the one that has taken its place.
GONE = {
    f"{PREFIX}{tier}_{name}": f"{PREFIX}{tier}_ADMIN_{name}"
    for tier, name in (
        ("AGGREGATOR", "PORT"),
        ("PUBLISHER", "HOST"),
        ("PUBLISHER", "PORT"),
        ("AUDIT", "HOST"),
        ("AUDIT", "PORT"),
    )
}

S = TypeVar("S", bound=Section)


def load(section: type[S], **overrides: Any) -> S:
    """Read one section from the environment; `overrides` (command-line flags) win, where they are not None.

    Raises ConfigurationError naming each bad variable, its value and what it should be.
    """
    try:
        return section(**{field: value for field, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(section, problem) for problem in error.errors())) from None


def check(tier: str) -> list[Section]:
    """Read all sections of a tier, and refuse variables that no tier knows. Raises ConfigurationError."""
    problems = [_unknown(name) for name in unknown_variables(os.environ)]
    sections = []
    for section in TIERS[tier]:
        try:
            sections.append(load(section))
            sections[-1].check_files()
        except (ConfigurationError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return sections


def known_variables() -> frozenset[str]:
    """The names of all settings of all tiers."""
    return frozenset(section.variable(field) for section in SECTIONS for field in section.model_fields)


def unknown_variables(environment: Any) -> list[str]:
    """Names in `environment` that carry our prefix and are no setting: misspelt ones."""
    known = known_variables() | FOREIGN_VARIABLES
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def _unknown(name: str) -> str:
    if name in GONE:
        return f"{name} is gone: set {GONE[name]} instead."
    close = difflib.get_close_matches(name, known_variables(), n=1)
    remedy = (
        f"did you mean {close[0]}?" if close else "`emostream config show TIER` lists all settings; unset this one."
    )
    return f"{name} is not a setting: {remedy}"


def _explain(section: type[Section], problem: Any) -> str:
    field = str(problem["loc"][0]) if problem["loc"] else ""
    if not field:
        return f"{section.title}: {problem['msg'].removeprefix('Value error, ')}"
    description = section.model_fields[field].description
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{section.variable(field)}={problem['input']!r} cannot be used: {reason}. It is: {description}"

"""TLS between hosts: each process shows its own certificate, and talks only to those that have one of the same CA.

A process has one identity, as it has one environment. So its clients and its admin listener take it from here, and no
caller hands it on. One file holds the private key and the certificate: Java, Granian, HAProxy and Python all take it
so, and to renew a certificate is to replace one file.
"""

import functools
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE
from prometheus_client import Gauge

from emostream import config
from emostream.config import TlsSettings

# Only where TLS is on: it takes a while to load.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

_expiry = Gauge(
    "emostream_tls_certificate_expiry_timestamp_seconds",
    "When the certificate of the process expires, in seconds since the epoch; absent without TLS.",
    ["subject"],
)
_PEM = "PEM"


def _settings() -> TlsSettings:
    """The settings of this environment. Raises ConfigurationError."""
    return _checked(
        os.environ.get(TlsSettings.variable("ca_file")), os.environ.get(TlsSettings.variable("identity_file"))
    )


@functools.lru_cache(1)
def _checked(*_values: str | None) -> TlsSettings:
    # It takes 0.3 ms, and the registry needs them for each process that it asks.
    return config.load(TlsSettings)


def kafka_client_options() -> dict[str, Any]:
    """What each client of kafka-python is made with; empty without TLS. Raises ConfigurationError."""
    settings = _settings()
    if not settings.is_on:
        return {}
    return {
        "security_protocol": "SSL",
        "ssl_cafile": settings.ca_file,
        "ssl_certfile": settings.identity_file,
        "ssl_keyfile": settings.identity_file,
    }


def java_properties() -> dict[str, str]:
    """The same for a Kafka client in Java, such as Spark's. Raises ConfigurationError."""
    settings = _settings()
    if not settings.is_on:
        return {}
    return {"security.protocol": "SSL", **java_stores(settings.ca_file, settings.identity_file)}


def java_stores(ca_file: str | Path, identity_file: str | Path) -> dict[str, str]:
    """What Kafka's clients and brokers call these two files."""
    return {
        "ssl.truststore.type": _PEM,
        "ssl.truststore.location": str(Path(ca_file).resolve()),
        "ssl.keystore.type": _PEM,
        "ssl.keystore.location": str(Path(identity_file).resolve()),
    }


def zookeeper_client_options() -> dict[str, Any]:
    """What a KazooClient is made with. Raises ConfigurationError."""
    settings = _settings()
    if not settings.is_on:
        return {}
    identity = {"certfile": settings.identity_file, "keyfile": settings.identity_file}
    # What a process makes is its own, and all others may read it.
    acls = [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE]
    return {"use_ssl": True, "ca": settings.ca_file, "check_hostname": True, "default_acl": acls, **identity}


def admin_server_options() -> dict[str, Any]:
    """What Granian is made with at an admin listener: it answers only who has a certificate of our CA.

    Raises ConfigurationError.
    """
    settings = _settings()
    if not settings.is_on:
        return {}
    ca_file, identity_file = Path(settings.ca_file), Path(settings.identity_file)
    certificate = _certificates_in(identity_file.read_bytes())[0]
    subject = certificate.subject.rfc4514_string()
    _expiry.labels(subject).set(certificate.not_valid_after_utc.timestamp())
    return {"ssl_ca": ca_file, "ssl_client_verify": True, "ssl_cert": identity_file, "ssl_key": identity_file}


def client_context() -> ssl.SSLContext | None:
    """With what admin listeners are asked; None without TLS. Raises ConfigurationError."""
    settings = _settings()
    return _client_context(settings.ca_file, settings.identity_file) if settings.is_on else None


@functools.lru_cache(1)
def _client_context(ca_file: str, identity_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(identity_file)
    return context


def admin_scheme() -> str:
    """The scheme of an admin listener's URL."""
    return "https" if _settings().is_on else "http"


def check_files(ca_file: str, identity_file: str, now: datetime | None = None) -> None:
    """Read both files. Raises ValueError with what is wrong, and with the setting that names the file."""
    now = now or datetime.now(UTC)
    ca_setting = f"{TlsSettings.variable('ca_file')}={ca_file}"
    identity_setting = f"{TlsSettings.variable('identity_file')}={identity_file}"
    authorities = _certificates_of(ca_file, ca_setting)
    valid = [each for each in authorities if each.not_valid_before_utc <= now <= each.not_valid_after_utc]
    if not valid:
        raise ValueError(f"{ca_setting}: the certificate of the CA is not valid now; {_validity(authorities[0])}")
    certificate, *between = _certificates_of(identity_file, identity_setting)
    if not _has_key_of(Path(identity_file).read_bytes(), certificate, identity_setting):
        raise ValueError(f"{identity_setting}: the private key does not fit the certificate")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError(f"{identity_setting}: the certificate is not valid now; {_validity(certificate)}")
    if not _leads_to(certificate, valid, between):
        raise ValueError(f"{identity_setting}: the certificate is of another CA than those in {ca_file}")


def _certificates_of(file: str, setting: str) -> "list[Certificate]":
    try:
        return _certificates_in(Path(file).read_bytes())
    except OSError as error:
        raise ValueError(f"{setting} cannot be read ({error.strerror})") from None
    except ValueError:
        raise ValueError(f"{setting} holds no certificate in the format PEM") from None


def _certificates_in(content: bytes) -> "list[Certificate]":
    from cryptography import x509  # noqa: PLC0415

    return x509.load_pem_x509_certificates(content)


def _has_key_of(content: bytes, certificate: "Certificate", setting: str) -> bool:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        raise ValueError(f"{setting} holds no private key in the format PEM, without a passphrase") from None
    # Java reads no other format of keys.
    if b"-----BEGIN PRIVATE KEY-----" not in content:
        raise ValueError(f"{setting}: the private key is not in the format PKCS #8 (`openssl pkcs8 -topk8 -nocrypt`)")
    return key.public_key() == certificate.public_key()


def _validity(certificate: "Certificate") -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"it is from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _leads_to(
    certificate: "Certificate", authorities: "Sequence[Certificate]", between: "Sequence[Certificate]"
) -> bool:
    """Whether one of the authorities has issued it, perhaps through those `between`."""
    if any(has_issued(each, certificate) for each in authorities):
        return True
    issuers = [each for each in between if has_issued(each, certificate)]
    return any(_leads_to(each, authorities, [other for other in between if other is not each]) for each in issuers)


def has_issued(authority: "Certificate", certificate: "Certificate") -> bool:
    """Whether the authority has signed the certificate itself."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True

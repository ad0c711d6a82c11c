"""A CA, and certificates for processes: those of this machine, and of the hosts that it deploys.

CN is the tier and OU the cluster, where there is one: Kafka and ZooKeeper decide by these.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from emostream.config import TlsSettings
from emostream.errors import EmoStreamError
from emostream.runtime import tls

_HOSTS = ("127.0.0.1", "localhost")
_LIFETIME = timedelta(days=365)
# The clocks of two machines differ a little.
_BACKDATED = timedelta(hours=1)


@dataclass(frozen=True)
class Files:
    """Where the certificates of one CA are: `ca.pem`, and one file for each identity."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def identity(self, tier: str, cluster: str = "") -> Path:
        """The file with the key and the certificate of a tier."""
        return self.directory / f"{tier}{cluster and '@' + cluster}.pem"

    def settings(self, tier: str, cluster: str = "") -> dict[str, str]:
        """The environment variables by which a process has this identity."""
        return {
            TlsSettings.variable("ca_file"): str(self.ca.absolute()),
            TlsSettings.variable("identity_file"): str(self.identity(tier, cluster).absolute()),
        }


@dataclass(frozen=True)
class Wanted:
    """A certificate that should be in a file: its identity, and the hosts at which others find the process."""

    file: str
    tier: str
    cluster: str = ""
    hosts: tuple[str, ...] = _HOSTS
    # It opens no door between hosts: Kafka, ZooKeeper and admin listeners refuse it.
    is_server_only: bool = False


class Authority:
    """A CA. Its own certificate is by `issuer`, if that is given, or else by itself. Its key is in memory."""

    def __init__(self, name: str = "EmoStream", issuer: "Authority | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        signer = issuer or self
        builder = _builder(self._name, signer._name, self._key.public_key(), _LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        self._certificate = signer._sign(builder)

    @classmethod
    def kept_in(cls, directory: Path) -> "Authority":
        """The CA of a folder, which holds its certificate (`ca.pem`) and its key (`ca-key.pem`). Makes one once."""
        certificate, key = directory / "ca.pem", directory / "ca-key.pem"
        authority = cls()
        if key.exists():
            loaded = serialization.load_pem_private_key(key.read_bytes(), None)
            if not isinstance(loaded, ec.EllipticCurvePrivateKey):
                raise EmoStreamError(f"{key} is no key of this program: take the folder away, or put back its own key.")
            authority._key = loaded
            authority._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
            authority._name = authority._certificate.subject
            return authority
        directory.mkdir(parents=True, exist_ok=True)
        write_identity(key, _encoded(authority._key))
        certificate.write_bytes(authority.certificate())
        return authority

    def has_issued(self, certificate: x509.Certificate) -> bool:
        return tls.has_issued(self._certificate, certificate)

    def certificate(self) -> bytes:
        """The CA's own, as PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def identity(
        self,
        tier: str,
        cluster: str = "",
        hosts: Sequence[str] = _HOSTS,
        *,
        lifetime: timedelta = _LIFETIME,
        is_server_only: bool = False,
    ) -> bytes:
        """A new private key and its certificate, as PEM, for a process that others find at `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(tier, cluster), self._name, key.public_key(), lifetime)
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_alternative, hosts)), critical=False)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] + ([] if is_server_only else [ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        return _encoded(key) + self._sign(builder).public_bytes(serialization.Encoding.PEM)

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())


def make(directory: Path, identities: Sequence[tuple[str, str]]) -> None:
    """Make a CA and the identities, each a tier and its cluster (or none), in this folder."""
    files, authority = Files(directory), Authority()
    directory.mkdir(parents=True, exist_ok=True)
    files.ca.write_bytes(authority.certificate())
    for tier, cluster in identities:
        write_identity(files.identity(tier, cluster), authority.identity(tier, cluster))


def keep(directory: Path, wanted: Sequence[Wanted], due: timedelta) -> list[str]:
    """Make each wanted certificate that is missing, that is another one, or that is valid for less than `due`.

    Returns a sentence for each that was made.
    """
    authority, made = Authority.kept_in(directory), []
    for each in wanted:
        file = directory / each.file
        if reason := _reason_to_make(authority, file, each, due):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_identity(
                file, authority.identity(each.tier, each.cluster, each.hosts, is_server_only=each.is_server_only)
            )
            made.append(f"{each.file}: {reason}")
    return made


def check(directory: Path, wanted: Sequence[Wanted]) -> None:
    """Check certificates that this program did not make: raises EmoStreamError with what is wrong with each of them."""
    faults = [f"{each.file}: {fault}" for each in wanted if (fault := _fault(directory, each))]
    if faults:
        raise EmoStreamError("\n".join([f"the certificates in {directory} do not do:", *faults]))


def _fault(directory: Path, wanted: Wanted) -> str:
    file = directory / wanted.file
    try:
        tls.check_files(str(directory / "ca.pem"), str(file))
    except ValueError as error:
        return str(error)
    found = x509.load_pem_x509_certificate(file.read_bytes())
    subject = _subject(wanted.tier, wanted.cluster)
    if not wanted.is_server_only and found.subject != subject:
        return f"its subject is {found.subject.rfc4514_string()}, and has to be {subject.rfc4514_string()} alone"
    missing = [host for host in wanted.hosts if _alternative(host) not in _alternatives(found)]
    return f"it is not for {', '.join(missing)}" if missing else ""


def _alternatives(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _reason_to_make(authority: Authority, file: Path, wanted: Wanted, due: timedelta) -> str:
    if not file.exists():
        return "made"
    found = x509.load_pem_x509_certificate(file.read_bytes())
    if not authority.has_issued(found):
        return "made anew by this CA"
    names = list(map(_alternative, wanted.hosts))
    if found.subject != _subject(wanted.tier, wanted.cluster) or _alternatives(found) != names:
        return "made anew for other names"
    return "renewed" if found.not_valid_after_utc - datetime.now(UTC) < due else ""


def write_identity(file: Path, content: bytes) -> None:
    """Write a private key that nobody but its owner may read."""
    file.touch(mode=0o600)
    file.write_bytes(content)


def _subject(tier: str, cluster: str) -> x509.Name:
    # In this order, the name reads CN=tier,OU=cluster.
    names = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, cluster)] if cluster else []
    return x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, tier)])


def _encoded(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    end = datetime.now(UTC) + lifetime
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), end) - _BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

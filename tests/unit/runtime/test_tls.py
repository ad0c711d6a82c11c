"""The files of a process's identity are read before it starts, and each fault of theirs is one sentence."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from emostream import config
from emostream.errors import ConfigurationError
from emostream.runtime import tls
from emostream_lab.machine.certificates import Authority, Files, make

Write = Callable[[bytes], Path]
CA = "EMOSTREAM_TLS_CA_FILE"
IDENTITY = "EMOSTREAM_TLS_IDENTITY_FILE"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A good identity, which the environment names."""
    make(tmp_path, [("publisher", "cluster1"), ("ingest", "")])
    files = Files(tmp_path)
    for variable, value in files.settings("publisher", "cluster1").items():
        monkeypatch.setenv(variable, value)
    return files


def refusal() -> str:
    with pytest.raises(ConfigurationError) as refused:
        config.check("publisher")
    return str(refused.value)


def key_of(identity: bytes) -> bytes:
    return identity[: identity.index(b"-----BEGIN CERTIFICATE")]


def certificate_of(identity: bytes) -> bytes:
    return identity[identity.index(b"-----BEGIN CERTIFICATE") :]


def test_a_good_identity_is_taken(files: Files) -> None:
    config.check("publisher")
    subject = x509.load_pem_x509_certificate(files.identity("publisher", "cluster1").read_bytes()).subject
    assert subject.rfc4514_string() == "CN=publisher,OU=cluster1"


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("absent", [CA, IDENTITY])
def test_one_of_the_two_settings_alone_is_refused(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    monkeypatch.delenv(absent)
    assert refusal() == f"TLS between hosts: set both {CA} and {IDENTITY}, or neither."


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("setting", [CA, IDENTITY])
def test_a_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(setting, "/nowhere.pem")
    assert refusal() == f"{setting}=/nowhere.pem cannot be read (No such file or directory)"


def test_a_file_that_is_no_certificate_is_refused(files: Files) -> None:
    files.ca.write_text("-----BEGIN CERTIFICATE-----\n?\n")
    assert refusal() == f"{CA}={files.ca} holds no certificate in the format PEM"


def test_an_identity_without_its_key_is_refused(files: Files) -> None:
    file = files.identity("publisher", "cluster1")
    file.write_bytes(certificate_of(file.read_bytes()))
    assert refusal() == f"{IDENTITY}={file} holds no private key in the format PEM, without a passphrase"


def test_a_key_in_a_format_that_java_does_not_read_is_refused(files: Files) -> None:
    file = files.identity("publisher", "cluster1")
    key = serialization.load_pem_private_key(key_of(file.read_bytes()), None)
    assert hasattr(key, "private_bytes")
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    file.write_bytes(old + certificate_of(file.read_bytes()))
    assert "the private key is not in the format PKCS #8" in refusal()


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    file = files.identity("publisher", "cluster1")
    file.write_bytes(key_of(files.identity("ingest").read_bytes()) + certificate_of(file.read_bytes()))
    assert refusal() == f"{IDENTITY}={file}: the private key does not fit the certificate"


def test_a_certificate_of_another_ca_is_refused(files: Files) -> None:
    file = files.identity("publisher", "cluster1")
    file.write_bytes(Authority().identity("publisher", "cluster1"))
    assert refusal() == f"{IDENTITY}={file}: the certificate is of another CA than those in {files.ca}"


def test_a_certificate_of_a_ca_below_the_ca_is_taken_with_that_ones_certificate(files: Files) -> None:
    root, file = Authority("root"), files.identity("publisher", "cluster1")
    below = Authority("below", issuer=root)
    files.ca.write_bytes(root.certificate())
    identity = below.identity("publisher", "cluster1")
    file.write_bytes(identity + below.certificate())
    config.check("publisher")
    file.write_bytes(identity)
    assert "of another CA" in refusal()


def test_an_expired_certificate_is_refused_with_when(files: Files) -> None:
    authority, file = Authority(), files.identity("publisher", "cluster1")
    files.ca.write_bytes(authority.certificate())
    file.write_bytes(authority.identity("publisher", "cluster1", lifetime=timedelta(minutes=-1)))
    assert f"{IDENTITY}={file}: the certificate is not valid now; it is from " in refusal()


def test_an_expired_ca_is_refused(files: Files) -> None:
    later = datetime.now(UTC) + timedelta(days=4_000)
    with pytest.raises(ValueError, match="the certificate of the CA is not valid now"):
        tls.check_files(str(files.ca), str(files.identity("ingest")), later)


def test_a_second_ca_beside_the_first_one_counts_too(files: Files) -> None:
    """As while one takes the place of the other."""
    files.ca.write_bytes(Authority().certificate() + files.ca.read_bytes())
    config.check("publisher")


def test_nothing_is_encrypted_where_no_file_is_named() -> None:
    assert tls.kafka_client_options() == tls.zookeeper_client_options() == tls.admin_server_options() == {}
    assert tls.java_properties() == {}
    assert tls.client_context() is None
    assert tls.admin_scheme() == "http"

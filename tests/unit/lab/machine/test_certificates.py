"""Certificates are made once, and again when they are due or for other names."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from emostream.errors import EmoStreamError
from emostream.runtime import tls
from emostream_lab import cli
from emostream_lab.machine.certificates import Authority, Wanted, check, keep, write_identity

DUE = timedelta(days=30)
KAFKA = Wanted("host1/kafka.pem", "kafka", hosts=("10.0.0.1", "kafka1"))


def test_a_certificate_is_made_once_and_fits_the_ca(tmp_path: Path) -> None:
    assert keep(tmp_path, [KAFKA], DUE) == ["host1/kafka.pem: made"]
    before = (tmp_path / KAFKA.file).read_bytes()
    assert keep(tmp_path, [KAFKA], DUE) == []
    assert (tmp_path / KAFKA.file).read_bytes() == before
    tls.check_files(str(tmp_path / "ca.pem"), str(tmp_path / KAFKA.file))
    for file in ("ca-key.pem", KAFKA.file):
        assert (tmp_path / file).stat().st_mode & 0o777 == 0o600


def test_one_for_viewers_is_no_clients(tmp_path: Path) -> None:
    keep(tmp_path, [Wanted("edge1/haproxy.pem", "haproxy", is_server_only=True), KAFKA], DUE)
    usages = {
        file: list(
            x509.load_pem_x509_certificate((tmp_path / file).read_bytes())
            .extensions.get_extension_for_class(x509.ExtendedKeyUsage)
            .value
        )
        for file in ("edge1/haproxy.pem", KAFKA.file)
    }
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    assert usages == {"edge1/haproxy.pem": [server], KAFKA.file: [server, client]}


def test_one_for_other_names_is_made_anew(tmp_path: Path) -> None:
    keep(tmp_path, [KAFKA], DUE)
    moved = Wanted(KAFKA.file, "kafka", hosts=("10.0.0.2",))
    assert keep(tmp_path, [moved], DUE) == ["host1/kafka.pem: made anew for other names"]
    other = Wanted(KAFKA.file, "publisher", "cluster1", ("10.0.0.2",))
    assert keep(tmp_path, [other], DUE) == ["host1/kafka.pem: made anew for other names"]
    found = x509.load_pem_x509_certificate((tmp_path / KAFKA.file).read_bytes())
    assert found.subject.rfc4514_string() == "CN=publisher,OU=cluster1"


def test_one_that_is_due_is_renewed(tmp_path: Path) -> None:
    keep(tmp_path, [KAFKA], DUE)
    assert keep(tmp_path, [KAFKA], timedelta(days=1_000)) == ["host1/kafka.pem: renewed"]


def test_one_of_another_ca_is_made_anew(tmp_path: Path) -> None:
    keep(tmp_path, [KAFKA], DUE)
    write_identity(tmp_path / KAFKA.file, Authority().identity("kafka", hosts=KAFKA.hosts))
    assert keep(tmp_path, [KAFKA], DUE) == ["host1/kafka.pem: made anew by this CA"]


def test_the_key_of_another_program_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, [KAFKA], DUE)
    key = ed25519.Ed25519PrivateKey.generate()
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_identity(tmp_path / "ca-key.pem", key.private_bytes(*formats))
    with pytest.raises(EmoStreamError, match="is no key of this program"):
        keep(tmp_path, [KAFKA], DUE)


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    wanted = json.dumps([{"file": "a.pem", "tier": "ingest", "hosts": ["10.0.0.1"]}])
    ran = CliRunner().invoke(cli.main, ["certificates", str(tmp_path)], input=wanted)
    assert ran.output == "a.pem: made\nchanged=1\n"


def test_own_certificates_are_only_checked(tmp_path: Path) -> None:
    authority = Authority("Another")
    (tmp_path / "host1").mkdir()
    (tmp_path / "ca.pem").write_bytes(authority.certificate())
    write_identity(tmp_path / KAFKA.file, authority.identity("kafka", hosts=(*KAFKA.hosts, "kafka.example")))
    wanted = json.dumps([{"file": KAFKA.file, "tier": "kafka", "hosts": KAFKA.hosts}])
    before = sorted(tmp_path.rglob("*"))
    ran = CliRunner().invoke(cli.main, ["certificates", "--check", str(tmp_path)], input=wanted)
    assert (ran.exit_code, ran.output) == (0, "changed=0\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (Wanted("host2/kafka.pem", "kafka"), "host2/kafka.pem: .* cannot be read"),
        (Wanted(KAFKA.file, "ingest", hosts=KAFKA.hosts), "its subject is CN=kafka, and has to be CN=ingest alone"),
        (Wanted(KAFKA.file, "kafka", "cluster1", KAFKA.hosts), "has to be CN=kafka,OU=cluster1 alone"),
        (Wanted(KAFKA.file, "kafka", hosts=("10.0.0.1", "10.0.0.9")), "it is not for 10.0.0.9"),
    ],
)
def test_what_is_wrong_with_own_certificates_is_said(tmp_path: Path, wanted: Wanted, fault: str) -> None:
    keep(tmp_path, [KAFKA], DUE)
    with pytest.raises(EmoStreamError, match=fault):
        check(tmp_path, [KAFKA, wanted])


def test_own_certificates_of_another_ca_are_refused(tmp_path: Path) -> None:
    keep(tmp_path, [KAFKA], DUE)
    write_identity(tmp_path / KAFKA.file, Authority().identity("kafka", hosts=KAFKA.hosts))
    with pytest.raises(EmoStreamError, match="the certificate is of another CA"):
        check(tmp_path, [KAFKA])

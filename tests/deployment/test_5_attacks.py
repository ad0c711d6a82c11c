"""Attacks on the deployed hosts, through TLS: honest viewers elsewhere are answered, and nothing grows or restarts."""

import contextlib
import json
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from emostream import model
from emostream.client.connection import server_context
from tests import attacks
from tests.attacks import Target
from tests.deployment import control
from tests.deployment.hosts import GATEWAY_URL, MACHINES, Host, Hosts
from tests.integration.viewers import wait_until
from tests.unit.tokens.signing import signed

STREAM, WEBSOCKET = "/subscribers/1/v1/stream", "/subscribers/1/v1/ws"
MOST_GROWTH_MIB = 128
# By the settings of the deployment.
BURST_OF_A_USER, REACTIONS_PER_SECOND_OF_A_USER = 100, 20
# What an attack reaches, by host.
UNITS = {
    "gateway1": ["haproxy"],
    "ingest1": ["emostream-ingest"],
    "registry1": ["emostream-registry"],
    "edge1": ["haproxy", *(f"emostream-subscriber@{number}" for number in (1, 2, 3))],
}
# Reacts, asks where to watch, and watches until the file is there. Prints how often, and what was refused.
_HONEST = """
import json, os, ssl, sys, time, urllib.request
gateway, edge, token, over = sys.argv[1:]
context = ssl.create_default_context(cafile="/etc/emostream/viewers-ca.pem")
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
reaction = json.dumps({"user_id": "honest", "emoji_type": "\\U0001f525", "timestamp": 1}).encode()
asked = [(f"{gateway}/v1/reactions", reaction), (f"{gateway}/v1/assignments", b'{"user_id": "honest"}'), (edge, None)]
answered, refused, ends = 0, [], time.monotonic() + 600
while not os.path.exists(over) and time.monotonic() < ends:
    for url, body in asked:
        try:
            request = urllib.request.Request(url, body, headers)
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                answer.readline()
            answered += 1
        except OSError as error:
            refused.append(f"{url}: {error}")
os.remove(over)
print(json.dumps([answered, refused]))
"""
# The pid of each process of a unit, and the most memory that it has had, in KiB.
_PEAKS = (
    "pid=$(systemctl show --property MainPID --value {unit}); for each in $pid $(cat /proc/$pid/task/$pid/children); "
    "do echo $each $(awk '/^VmHWM/ {{ print $2 }}' /proc/$each/status); done"
)


def _token(*may: str, **changes: object) -> str:
    secret = (control.REPOSITORY / "build" / "secrets" / "vagrant" / "tokens").read_bytes().strip()
    claims = {"sub": "attacker", "exp": time.time() + 3_600, "events": ["*"], "may": list(may or ("react", "watch"))}
    return signed(secret, **{**claims, **changes})


def _target(host: str) -> Target:
    return Target(MACHINES[host]["ansible_host"], 443, server_context())


def _peaks(system: Hosts) -> dict[str, dict[str, int]]:
    """By host and unit, the pid of each process and its peak in MiB."""

    def of(host: Host, unit: str) -> dict[str, int]:
        lines = host.check_output(f"sh -c {shlex.quote(_PEAKS.format(unit=unit))}").splitlines()
        return {pid: int(peak) >> 10 for pid, peak in map(str.split, lines)}

    return {f"{name} {unit}": of(system[name], unit) for name, units in UNITS.items() for unit in units}


@contextlib.contextmanager
def _attacked(system: Hosts) -> Iterator[None]:
    """An attack of the control node, while an honest viewer is on the load generator."""
    before = _peaks(system)
    loadgen, over = system["loadgen1"], "/tmp/attack-is-over"  # noqa: S108 - on a host of the test
    edge = f"https://{MACHINES['edge1']['ansible_host']}{STREAM}"
    arguments = shlex.join([GATEWAY_URL, edge, _token("react", "watch", "relay"), over])
    with ThreadPoolExecutor(1) as pool:
        honest = pool.submit(loadgen.check_output, f"python3 -c {shlex.quote(_HONEST)} {arguments}")
        try:
            yield
        finally:
            loadgen.check_output(f"touch {over}")
        answered, refused = json.loads(honest.result())
    assert answered > 10
    assert refused == []
    after = _peaks(system)
    assert {unit: set(found) for unit, found in after.items()} == {unit: set(found) for unit, found in before.items()}
    grown = {
        unit: sum(found.values()) - sum(old.values())
        for (unit, found), old in zip(after.items(), before.values(), strict=True)
    }
    assert max(grown.values()) <= MOST_GROWTH_MIB, grown


# Python leaves a socket open whose peer resets it before the handshake begins.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


@pytest.fixture(autouse=True)
def unhindered(system: Hosts) -> Iterator[None]:  # noqa: ARG001 - our clients trust its CA
    """The limits of the control node's address are over, before and after an attack."""

    def is_let_in() -> bool:
        health = [
            attacks.status_of(_target(host), _target(host).head("GET /healthz")) for host in ("gateway1", "edge1")
        ]
        return health == [200, 200]

    wait_until(is_let_in, 60, every_seconds=1)
    yield
    wait_until(is_let_in, 60, every_seconds=1)


def test_replayed_and_forged_tokens_get_nothing(system: Hosts) -> None:
    reaction = model.encode(model.Reaction("x", "🔥", 1))
    ten = model.encode([model.Reaction("x", "🔥", 1)] * 10)
    bad = [_token(exp=time.time() - 3_600), _token(aud="elsewhere"), "eyJhbGciOiJub25lIn0.e30.", "x" * 3_000]
    with _attacked(system):
        forged = attacks.with_tokens(_target("gateway1"), "POST /v1/reactions", bad * 50, reaction)
        began = time.monotonic()
        replayed = attacks.with_tokens(_target("gateway1"), "POST /v1/reactions", [_token()] * 300, ten)
        seconds = time.monotonic() - began
        watched = attacks.with_tokens(_target("edge1"), f"GET {STREAM}", bad * 50, b"")
    assert set(forged) == set(watched) == {401}
    # A good token may be shown again and again, but its user has a limit.
    assert set(replayed) == {202, 429}
    assert 10 * replayed[202] <= BURST_OF_A_USER + REACTIONS_PER_SECOND_OF_A_USER * seconds


def test_bad_frames_and_pings_end_or_slow_their_own_connection_alone(system: Hosts) -> None:
    with _attacked(system):
        ended = attacks.bad_frames(_target("edge1"), WEBSOCKET, _token())
        attacks.ping_flood(_target("edge1"), WEBSOCKET, _token())
    assert all(ended)


def test_slow_clients_hold_nobody_up(system: Hosts) -> None:
    with (
        _attacked(system),
        attacks.slow_bodies(_target("gateway1"), "/v1/reactions", _token()),
        attacks.slow_bodies(_target("gateway1"), "/v1/assignments", _token()),
        attacks.half_heads(_target("gateway1")),
        attacks.half_heads(_target("edge1")),
    ):
        # Longer than the time for a head.
        time.sleep(15)


def test_huge_heads_thousands_of_events_and_floods_of_connects_are_refused(system: Hosts) -> None:
    with _attacked(system):
        for host in ("gateway1", "edge1"):
            assert set(attacks.huge_heads(_target(host))) <= {0, 400, 414, 431}
        palettes = attacks.with_event_ids(_target("gateway1"), "/v1/events/{event}/palette", 10_000)
        streams = attacks.with_event_ids(_target("edge1"), "/subscribers/1/v1/events/{event}/stream", 1_000)
        for host in ("gateway1", "edge1"):
            # An address is let in 1,500 times in ten seconds; plain connects ask for no handshake.
            assert attacks.connect_flood(_target(host)._replace(context=None))
    assert set(palettes) <= {0, 404, 429}
    assert set(streams) <= {0, 401, 429}

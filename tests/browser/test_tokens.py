"""The JavaScript client shows its token, renews one that is refused, and is a guest where it has none."""

from typing import Any

import pytest

from emostream_lab.machine.chromium import Browser
from tests.browser.elsewhere import Pages
from tests.browser.standin import StandIn
from tests.browser.test_tag import BOX, TAG, script, tag, wait_ready

# Stands in for the servers: each request is noted with its token, and gets the next of the answers `[status, body]`.
PLAY = """
    const play = async (answers, act) => {
      const requests = [];
      const real = globalThis.fetch;
      globalThis.fetch = async (url, { headers } = {}) => {
        requests.push([`${url}`, headers?.Authorization ?? null]);
        const [status, body] = answers.shift() ?? [503, {}];
        return new Response(JSON.stringify(body), { status });
      };
      try {
        return { result: await act(), requests };
      } finally {
        globalThis.fetch = real;
      }
    };
    const { EmoStream } = await import("/emostream.js");
    const options = { registryUrl: "http://registry", ingestUrl: "http://ingest", random: () => 0 };
"""
REACTIONS, GUESTS = "http://ingest/v1/reactions", "http://registry/v1/guests"
ACCEPTED = [202, {"record": {"partition": 0, "offset": 7, "timestamp": 1}}]
EXPIRED = [401, {"detail": "The token has expired."}]


def react(modules: Browser, source: str, answers: list[Any], times: int = 1) -> Any:
    """React with a token from this source, a JavaScript expression."""
    return modules.run(
        PLAY
        + f"""
        const stream = new EmoStream({{ ...options, token: {source} }});
        return play(args[0], async () => {{
          let outcome;
          for (let i = 0; i < args[1]; i += 1) ({{ outcome }} = await stream.react("🔥"));
          return outcome;
        }});
        """,
        answers,
        times,
    )


@pytest.mark.parametrize("source", ["'t1'", "() => 't1'", "async () => 't1'"])
def test_each_request_has_the_token(modules: Browser, source: str) -> None:
    found = react(modules, source, [ACCEPTED, ACCEPTED], times=2)
    assert found == {"result": "accepted", "requests": [[REACTIONS, "Bearer t1"]] * 2}


def test_a_token_is_kept_until_it_is_refused(modules: Browser) -> None:
    source = "((number) => async () => `t${(number += 1)}`)(0)"
    found = react(modules, source, [ACCEPTED, EXPIRED, ACCEPTED, ACCEPTED], times=3)
    assert found["result"] == "accepted"
    assert [token for _, token in found["requests"]] == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


def test_without_a_token_a_viewer_becomes_a_guest(modules: Browser) -> None:
    found = react(modules, "undefined", [EXPIRED, [200, {"token": "g1"}], ACCEPTED])
    assert found["result"] == "accepted"
    assert found["requests"] == [[REACTIONS, None], [GUESTS, None], [REACTIONS, "Bearer g1"]]


@pytest.mark.parametrize("source", ["undefined", "'t1'", "() => Promise.reject(new Error('down'))"])
def test_a_viewer_whom_nobody_lets_in_is_told_so(modules: Browser, source: str) -> None:
    answers = [EXPIRED, [404, {}]]
    assert react(modules, source, answers)["result"] == "refused"


def test_a_websocket_has_the_token_as_a_subprotocol_and_a_guests_comes_with_the_assignment(modules: Browser) -> None:
    found = modules.run(
        PLAY
        + """
        const offered = [];
        const real = globalThis.WebSocket;
        globalThis.WebSocket = class {
          constructor(_, protocols) {
            offered.push(protocols);
            setTimeout(() => this.onclose({ code: 4410, reason: "" }));
          }
          close() {}
        };
        const watch = async (token) => {
          const stream = new EmoStream({ ...options, token });
          const ended = new Promise((resolve) => stream.addEventListener("state", ({ detail }) => {
            if (detail.name === "ended") resolve();
          }));
          stream.start();
          await ended;
        };
        const assignment = { subscriber: "c/1", cluster: "c", sse_url: "http://s/v1/stream", ws_url: "ws://s/v1/ws" };
        try {
          await play([[200, assignment]], () => watch("t1"));
          await play([[200, { ...assignment, token: "g1" }]], () => watch());
          await play([[200, assignment]], () => watch());
        } finally {
          globalThis.WebSocket = real;
        }
        return offered;
        """
    )
    assert found == [["emostream", "t1"], ["emostream", "g1"], []]


def test_an_expired_stream_is_resumed_at_the_same_subscriber_with_a_new_token(modules: Browser) -> None:
    found = modules.run(
        """
        const { EmoStream } = await import("/emostream.js");
        const asked = [];
        const event = (type, data) => `event: ${type}\\ndata: ${JSON.stringify(data)}\\n\\n`;
        const streams = [
          event("snapshot", { id: "s-1", sequence: 1, totals: {} }) + event("goodbye", { reason: "expired" }),
          event("end", { id: "s-2", sequence: 2, totals: {} }),
        ];
        const real = globalThis.fetch;
        globalThis.fetch = async (url, { headers, body }) => {
          asked.push([`${url}`.replace(/\\?.*/, ""), headers.Authorization, JSON.parse(body ?? "{}").exclude]);
          if (body) return Response.json({ subscriber: "c/1", cluster: "c", sse_url: "http://s/v1/stream" });
          return new Response(streams.shift(), { status: 200 });
        };
        let number = 0;
        const stream = new EmoStream({ registryUrl: "http://r", token: async () => `t${(number += 1)}` });
        try {
          await new Promise((resolve) => {
            stream.addEventListener("end", resolve);
            stream.start();
          });
        } finally {
          globalThis.fetch = real;
        }
        return { asked, gaps: stream.gaps };
        """
    )
    assert found["gaps"] == 0
    assert found["asked"] == [
        ["http://r/v1/assignments", "Bearer t1", []],
        ["http://s/v1/stream", "Bearer t1", None],
        ["http://r/v1/assignments", "Bearer t2", []],
        ["http://s/v1/stream", "Bearer t2", None],
    ]


@pytest.fixture
def browser(shared_desktop: Browser) -> Browser:
    return shared_desktop


def test_the_tag_takes_its_token_from_an_attribute_or_a_property(
    browser: Browser, standin: StandIn, elsewhere: Pages
) -> None:
    browser.get(elsewhere.add(BOX.format(tag(standin, 'token="t1"')) + script(standin)))
    wait_ready(browser, standin)
    browser.execute_script(f"return {TAG}.react('🔥')")
    browser.wait_until(lambda: ("/v1/reactions", "t1") in standin.tokens)
    assert {token for _, token in standin.tokens} == {"t1"}
    assert {"/v1/assignments", "/v1/stream"} <= {path for path, _ in standin.tokens}
    # A property may be set before the script has come.
    standin.tokens.clear()
    early = f"<script>{TAG}.token = async () => 't2';</script>"
    browser.get(elsewhere.add(BOX.format(tag(standin)) + early + script(standin)))
    wait_ready(browser, standin)
    browser.wait_until(lambda: ("/v1/stream", "t2") in standin.tokens)
    assert {token for _, token in standin.tokens} == {"t2"}

"""The page's modules on their own, in a browser without EmoStream's servers.

What the client does with each answer of the servers is in clients/cases.json, which runs in Node.
"""

import json
from typing import Any

import pytest

from emostream.model import MAX_EVENT_CHARACTERS
from emostream_lab.machine.chromium import Browser

# Stands in for the servers: each request is noted, and gets the next of the answers `[status, body, headers]`.
PLAY = """
    const play = async (answers, act) => {
      const requests = [];
      const real = globalThis.fetch;
      globalThis.fetch = async (url, { body } = {}) => {
        requests.push([`${url}`, body ? JSON.parse(body) : null]);
        const [status, text, headers] = answers.shift() ?? [];
        if (!status) throw new TypeError("Failed to fetch");
        return new Response(text, { status, headers });
      };
      try {
        return { result: await act(), requests };
      } finally {
        globalThis.fetch = real;
      }
    };
"""


@pytest.mark.parametrize(
    ("answers", "outcome", "sends"),
    [
        ([[202, '{"accepted":1,"record":{"partition":0,"offset":7,"timestamp":1}}']], "accepted", 1),
        ([[503, "{}", {"Retry-After": "0"}], [202, '{"accepted":1,"record":{}}']], "accepted", 2),
        ([[503, "{}", {"Retry-After": "0"}]], "unknown", 2),
    ],
)
def test_a_reaction_is_sent_again_only_when_it_was_not_taken_for_certain(
    modules: Browser, answers: list[Any], outcome: str, sends: int
) -> None:
    found = modules.run(
        PLAY
        + """
        const { EmoStream } = await import("/emostream.js");
        const stream = new EmoStream({ ingestUrl: "http://ingest", random: () => 0 });
        return play(args[0], () => stream.react("🔥"));
        """,
        answers,
    )
    assert found["result"]["outcome"] == outcome
    assert [url for url, _ in found["requests"]] == ["http://ingest/v1/reactions"] * sends
    if outcome == "accepted" and sends == 1:
        assert found["result"]["record"] == {"partition": 0, "offset": 7, "timestamp": 1}


def test_an_event_has_paths_of_its_own(modules: Browser) -> None:
    longest = "a" * MAX_EVENT_CHARACTERS
    found = modules.run(
        PLAY
        + """
        const { EmoStream } = await import("/emostream.js");
        const options = { registryUrl: "http://registry", ingestUrl: "http://ingest" };
        const streams = args[1].map((event) => new EmoStream({ ...options, event }));
        return play(args[0], async () => {
          for (const stream of streams) await stream.palette();
          for (const stream of streams) await stream.react("🔥");
          return streams[1].events();
        });
        """,
        [[200, '{"emoji":["🔥"]}']] * 3 + [[202, "{}"]] * 3 + [[200, '{"events":[{"event":"main"}]}']],
        ["main", "final", longest],
    )
    paths = ["http://ingest/v1", "http://ingest/v1/events/final", f"http://ingest/v1/events/{longest}"]
    assert [url for url, _ in found["requests"]] == [
        *(f"{path}/palette" for path in paths),
        *(f"{path}/reactions" for path in paths),
        "http://registry/v1/events",
    ]
    assert found["result"] == [{"event": "main"}]


@pytest.mark.parametrize(
    "event", ["", ".", "..", "%2e%2e", "a/../b", "-a", "Final", "final\n", "a" * (MAX_EVENT_CHARACTERS + 1)]
)
def test_what_is_no_id_of_an_event_is_in_no_path(modules: Browser, event: str) -> None:
    found = modules.run(
        PLAY
        + """
        const { EmoStream } = await import("/emostream.js");
        const stream = new EmoStream({ ingestUrl: "http://ingest", event: args[1] });
        return play(args[0], async () => {
          const { outcome, reason } = await stream.react("🔥");
          return [outcome, reason, await stream.palette().catch((error) => error.message)];
        });
        """,
        [[202, "{}"], [200, '{"emoji":["🔥"]}']],
        event,
    )
    assert found == {"result": ["refused", *[f"There is no event {event}."] * 2], "requests": []}


# A registry that assigns `a`, `b` and so on, WebSockets that say what the test wants, and a clock that the test moves.
# `script` is a list for each WebSocket: of messages, then "open" (it stays open), or the reason with which it closes.
WATCH = """
    const watch = async (script, act) => {
      const real = { fetch, WebSocket, setTimeout, clearTimeout };
      const later = setTimeout;
      const asked = [];
      const states = [];
      const timers = new Map();
      let now = 0;
      let names = 0;
      globalThis.setTimeout = (run, ms = 0) => (timers.set((names += 1), { run, at: now + ms }), names);
      globalThis.clearTimeout = (name) => timers.delete(name);
      const settled = () => new Promise((resolve) => later(resolve, 20));
      const advance = async (ms) => {
        now += ms;
        for (const [name, { run, at }] of timers) if (at <= now && timers.delete(name)) run();
        await settled();
      };
      globalThis.fetch = async (url, { body } = {}) => {
        asked.push(`${url}`);
        if (!`${url}`.endsWith("/v1/assignments")) throw new TypeError("Failed to fetch");
        const name = "abcdef"[JSON.parse(body).exclude.length];
        const urls = { sse_url: `http://${name}/v1/stream`, ws_url: `ws://${name}/v1/ws` };
        return new Response(JSON.stringify({ subscriber: name, cluster: "c", ...urls }));
      };
      globalThis.WebSocket = class {
        constructor(url) {
          WebSocket.last = this;
          asked.push(`${url}`);
          const steps = script.shift();
          queueMicrotask(() => {
            for (const step of steps) {
              if (step === "open") return;
              if (typeof step === "string") this.onclose({ reason: step });
              else if (typeof step === "number") this.onclose({ code: step, reason: "a reason" });
              else this.onmessage({ data: JSON.stringify(step) });
            }
          });
        }
        close() {}
      };
      const { EmoStream } = await import("/emostream.js");
      const stream = new EmoStream({ registryUrl: "http://registry", random: () => 0 });
      stream.addEventListener("state", ({ detail: { name, reason } }) => states.push([name, reason].join(":")));
      try {
        stream.start();
        await settled();
        await act(advance, states);
        return { asked: asked.filter((url) => !url.startsWith("http://registry")), states };
      } finally {
        stream.stop();
        Object.assign(globalThis, real);
      }
    };
"""


def test_heartbeats_keep_a_stream_that_has_no_swarms(modules: Browser) -> None:
    found = modules.run(
        WATCH
        + """
        return watch([[{ type: "hello", heartbeat_ms: 3000 }, "open"]], async (advance) => {
          for (let beat = 0; beat < 5; beat += 1) {
            await advance(6_999);
            WebSocket.last.onmessage({ data: '{"type":"heartbeat"}' });
          }
        });
        """
    )
    assert found["states"] == ["connecting:", "live:", "stopped:"]


@pytest.mark.parametrize("script", [[""], ["open"]])
def test_where_no_websocket_works_sse_of_the_same_subscriber_is_tried(modules: Browser, script: list[str]) -> None:
    found = modules.run(WATCH + "return watch([args[0]], (advance) => advance(5_000))", script)
    assert found["asked"][:2] == [
        "ws://a/v1/ws?heartbeats=1&form=compact",
        "http://a/v1/stream?heartbeats=1&form=compact",
    ]


def test_a_websocket_that_is_refused_with_a_reason_is_not_tried_as_sse(modules: Browser) -> None:
    full = "This subscriber is full; ask the registry for another one."
    found = modules.run(WATCH + "return watch([[args[0]], ['open']], (advance) => advance(1_000))", full)
    assert found["asked"] == ["ws://a/v1/ws?heartbeats=1&form=compact", "ws://b/v1/ws?heartbeats=1&form=compact"]
    assert f"waiting:{full}" in found["states"]


@pytest.mark.parametrize(
    ("address", "event", "is_chosen", "shows_scenes"),
    [
        ("", "main", False, False),
        ("#", "main", False, False),
        ("#main", "main", True, False),
        ("#final", "final", True, False),
        ("#final/topology", "final", True, True),
        ("#topology", "main", True, True),
        ("#topology/", "topology", True, False),
        ("#" + "a" * 1000, "a" * 64, True, False),
    ],
)
def test_the_address_of_the_page_names_an_event(
    modules: Browser, address: str, event: str, is_chosen: bool, shows_scenes: bool
) -> None:
    found = modules.run('return (await import("/events.js")).addressed(args[0])', address)
    assert found == {"event": event, "isChosen": is_chosen, "showsScenes": shows_scenes}


def test_the_address_of_an_event_names_it(modules: Browser) -> None:
    found = modules.run(
        """
        const { addressed, hashOf } = await import("/events.js");
        return args[0].map((event) => addressed(hashOf(event)));
        """,
        ["main", "final", "topology"],
    )
    assert [(each["event"], each["showsScenes"]) for each in found] == [
        ("main", False),
        ("final", False),
        ("topology", False),
    ]


CHOOSER = """
    const { Chooser } = await import("/events.js");
    document.body.innerHTML = '<dialog><button>x</button><p id="events-note"></p><ul></ul></dialog>';
    const dialog = document.querySelector("dialog");
    const answers = args[0];
    const real = setTimeout;
    let poll = null;
    globalThis.setTimeout = (run) => (poll = run);
    const settled = () => new Promise((resolve) => real(resolve, 20));
    try {
      const ask = async () => {
        const events = answers.shift();
        if (!events) throw new Error("no answer");
        return events.map(([event, title, viewers]) => ({ event, title, viewers, reactions_per_second: 1234.56 }));
      };
      const phrase = (viewers, isOne, pace) => `${viewers} ${isOne ? "viewer" : "viewers"}, ${pace} a second`;
      const chooser = new Chooser(dialog, ask, "final", "en", phrase);
      chooser.open("why");
      await settled();
      const seen = [];
      const look = () => seen.push([
        [...dialog.querySelectorAll("a")].map((link) => link.innerText),
        document.activeElement.hash ?? "",
        dialog.dataset.stale,
      ]);
      dialog.querySelector("a[href='#show']").focus();
      look();
      while (answers.length) {
        poll();
        await settled();
        look();
      }
      return { seen, current: dialog.querySelector("[aria-current]").hash, note: dialog.innerText.includes("why") };
    } finally {
      globalThis.setTimeout = real;
      document.body.innerHTML = "";
    }
"""


def test_the_chooser_keeps_its_order_and_the_focus_while_events_come_and_go(modules: Browser) -> None:
    main, final, quiz, show = (
        ["main", "Main", 2],
        ["final", "Final", 1],
        ["quiz", "<b>Quiz</b>", 0],
        ["show", "Show", 0],
    )
    found = modules.run(CHOOSER, [[main, final, show], [main, final, quiz, show], None, [final, show]])
    titles = {
        "main": "Main 2 viewers, 1,234.6 a second",
        "final": "Final 1 viewer, 1,234.6 a second",
        "quiz": "<b>Quiz</b> 0 viewers, 1,234.6 a second",
        "show": "Show 0 viewers, 1,234.6 a second",
    }
    looks = [[" ".join(link.split()) for link in links] for links, *_ in found["seen"]]
    names = {title: name for name, title in titles.items()}
    assert [[names[title] for title in look] for look in looks] == [
        ["main", "final", "show"],
        ["main", "final", "quiz", "show"],
        ["main", "final", "quiz", "show"],
        ["final", "show"],
    ]
    assert [focus for _, focus, _ in found["seen"]] == ["#show"] * 4
    assert [stale for *_, stale in found["seen"]] == ["no", "no", "yes", "no"]
    assert (found["current"], found["note"]) == ("#final", True)


def test_a_dialog_that_is_opened_again_asks_once_at_a_time(modules: Browser) -> None:
    found = modules.run(
        """
        const { LiveDialog } = await import("/dialog.js");
        document.body.innerHTML = "<dialog><button>x</button></dialog>";
        const real = setTimeout;
        let timers = [];
        globalThis.setTimeout = (run) => timers.push(run);
        const settled = () => new Promise((resolve) => real(resolve, 20));
        const asked = [];
        const shown = [];
        const looks = [];
        const ask = () => new Promise((resolve) => asked.push(resolve));
        const live = new LiveDialog(document.querySelector("dialog"), 1_000, ask, (answer) => shown.push(answer));
        const answerAll = async () => {
          for (const [index, answer] of asked.entries()) answer(index + 1);
          await settled();
        };
        const waitUntilNext = async () => {
          const due = timers;
          timers = [];
          for (const run of due) run();
          await settled();
          looks.push([asked.length, [...shown]]);
        };
        try {
          live.open();
          for (let time = 0; time < 2; time += 1) {
            live.close();
            live.open();
          }
          await answerAll();
          await waitUntilNext();
          await answerAll();
          live.close();
          live.open();
          await answerAll();
          await waitUntilNext();
          live.close();
          await answerAll();
          await waitUntilNext();
          return looks;
        } finally {
          globalThis.setTimeout = real;
          document.body.innerHTML = "";
        }
        """
    )
    assert found == [
        [4, [3]],  # three openings, of which the last one goes on
        [6, [3, 4, 5]],  # it asked again, and was opened once more
        [6, [3, 4, 5]],  # it is closed
    ]


HERE = {"tappedAt": 1000, "answeredAt": 1030, "seenAt": 2500}
THERE = {
    "recorded": 1010,
    "window_end": 2000,
    "swarms_timestamp": 2200,
    "cluster_timestamp": 2250,
    "received_timestamp": 2260,
}


def hops(modules: Browser, here: dict[str, int], there: dict[str, int]) -> dict[str, int]:
    found = modules.run('return (await import("/follow.js")).splitIntoHops(...args)', here, there)
    return {hop["name"]: hop["ms"] for hop in found}


def test_hops_sum_to_the_whole(modules: Browser) -> None:
    assert hops(modules, HERE, THERE) == {
        "ingest": 10,
        "kafka": 20,
        "trigger": 970,
        "spark": 200,
        "relay": 50,
        "subscriber": 10,
        "browser": 240,
    }


def test_hops_bear_a_clock_that_is_wrong(modules: Browser) -> None:
    # The servers' clocks are an hour ahead: Kafka's time of the record becomes that of the answer; the rest shifts too.
    ahead = {name: at + 3_600_000 for name, at in THERE.items()}
    shifted = hops(modules, HERE, ahead)
    assert sum(shifted.values()) == 1500
    assert (shifted["spark"], shifted["relay"], shifted["subscriber"]) == (200, 50, 10)


def test_hops_that_overlap_still_sum_to_the_whole(modules: Browser) -> None:
    # The batch began before the answer arrived.
    overlapping = hops(modules, HERE | {"answeredAt": 2100}, THERE)
    assert sum(overlapping.values()) == 1500
    assert overlapping["trigger"] == 0
    assert min(overlapping.values()) >= 0


def test_the_latency_is_that_of_the_swarm_that_counted_the_tap(modules: Browser) -> None:
    found = modules.run(
        """
        const { OwnReactions } = await import("/own.js");
        const asked = [];
        const counted = { 7: { 0: 5 }, 8: { 0: 6, 1: 3 }, 9: { 0: 9, 1: 4 } };
        let isAway = true;
        const own = new OwnReactions(async (sequence) => {
          asked.push(sequence);
          return isAway && sequence === 8 ? null : counted[sequence];
        });
        const looks = [];
        const look = async (head, now) => {
          const settled = await own.settle(head, now);
          looks.push(settled.map(({ tap, swarm, latencyMs }) => [tap.emoji, swarm.sequence, latencyMs]));
        };
        own.accepted({ record: { partition: 0, offset: 5 }, emoji: "🔥", tappedAt: 1000, after: 6 });
        own.accepted({ record: { partition: 1, offset: 3 }, emoji: "🎉", tappedAt: 1100, after: 6 });
        own.arrived({ sequence: 7 }, 1400);
        await look(7, 1400);
        own.arrived({ sequence: 8 }, 1900);
        own.arrived({ sequence: 9 }, 2400);
        await look(9, 2400);
        isAway = false;
        await look(9, 2500);
        await look(9, 2600);
        return { looks, asked };
        """
    )
    nobody: list[Any] = []
    assert found["looks"] == [nobody, nobody, [["🔥", 8, 900], ["🎉", 9, 1300]], nobody]
    assert found["asked"] == [7, 7, 8, 8, 8, 8, 9], "no swarm that did not count it is asked again"


def process(tier: str, name: str, **more: Any) -> dict[str, Any]:
    known = {"tier": tier, "name": name, "ready": True, "reason": "", "url": "", "metrics": {}, "per_second": 0}
    return {**known, **more}


def test_a_process_has_the_rate_of_the_registry_and_is_shown_as_gone_when_it_left(modules: Browser) -> None:
    looks = [
        ([process("ingest", "a", per_second=100), process("ingest", "b")], 0),
        ([process("ingest", "a", per_second=1.5)], 2_000),
        ([process("ingest", "a")], 20_000),
        ([process("ingest", "a", ready=False)], 24_000),
    ]
    found = modules.run(
        """
        const { Observations } = await import("/topology.js");
        const observations = new Observations();
        return args[0].map(([processes, now]) => structuredClone(observations.add(processes, now)));
        """,
        looks,
    )
    told = [[(each["name"], each["state"], each["perSecond"]) for each in look] for look in found]
    assert told == [
        [("a", "ready", 100), ("b", "ready", 0)],
        [("a", "ready", 1.5), ("b", "gone", 0)],
        [("a", "ready", 0), ("b", "gone", 0)],
        [("a", "troubled", 0)],
    ]


@pytest.mark.parametrize("is_wide", [True, False])
@pytest.mark.parametrize("clusters", [1, 3, 5])
def test_the_picture_has_every_process_inside_it_and_none_on_another(
    modules: Browser, clusters: int, is_wide: bool
) -> None:
    processes = [process("ingest", "i"), process("aggregator", "a", leader=True), process("registry", "r")]
    for cluster in map(str, range(clusters)):
        processes.append(process("publisher", f"{cluster}@p", cluster=cluster, leader=True))
        processes += [process("subscriber", f"{cluster}/{n}", cluster=cluster) for n in range(3)]
    found = modules.run(
        """
        const { Observations } = await import("/topology.js");
        const { layOut } = await import("/map.js");
        const { boxes, lines, ...size } = layOut(new Observations().add(args[0], 0), false, args[1]);
        return { ...size, boxes: [...boxes.values()], lines: [...lines.keys()] };
        """,
        processes,
        is_wide,
    )
    boxes = found["boxes"]
    assert len(boxes) == len(processes) + 4 + clusters, "and the viewers, the logs, and ZooKeeper"
    for box in boxes:
        assert box["width"] / 2 <= box["x"] <= found["width"] - box["width"] / 2, json.dumps(box)
        assert 24 <= box["y"] <= found["height"] - 24, json.dumps(box)
    for index, box in enumerate(boxes):
        for other in boxes[:index]:
            is_apart = (
                abs(box["x"] - other["x"]) >= (box["width"] + other["width"]) / 2 or abs(box["y"] - other["y"]) >= 48
            )
            assert is_apart, json.dumps([box, other])


@pytest.mark.parametrize("width", [1_180, 360])
@pytest.mark.parametrize("of_a_tier", [1, 3])
def test_no_text_of_the_picture_is_hidden_or_leaves_its_box(modules: Browser, of_a_tier: int, width: int) -> None:
    processes = [process("registry", "r")]
    for number in range(of_a_tier):
        is_last = number == of_a_tier - 1
        processes += [process("ingest", f"i{number}"), process("aggregator", f"a{number}", leader=is_last)]
        for cluster in ("cluster1", "cluster2"):
            processes.append(process("publisher", f"{cluster}@p{number}", cluster=cluster, leader=is_last))
            processes.append(
                process("subscriber", f"{cluster}/900{number}", cluster=cluster, clients=1_000, capacity=1_000)
            )
    found = modules.run(
        """
        const { PipelineMap } = await import("/map.js");
        const { Observations } = await import("/topology.js");
        const figure = document.createElement("figure");
        figure.id = "map";
        figure.style.width = `${args[1]}px`;
        document.body.replaceChildren(figure);
        const processes = new Observations().add(args[0], 0);
        const rates = { ingest: 250_000, aggregator: 0.5, publisher: 0.5, subscriber: 500 };
        for (const each of processes) each.perSecond = rates[each.tier] ?? 0;
        new PipelineMap(figure).show(processes, false);
        const placeOf = (each) => each.getBoundingClientRect();
        const boxes = [...figure.querySelectorAll(".box")];
        const isOver = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        const labels = [...figure.querySelectorAll(".label")].filter((each) => each.textContent);
        const shapes = boxes.map((box) => placeOf(box.querySelector(".shape")));
        const hidden = labels.filter((label) => shapes.some((shape) => isOver(placeOf(label), shape)));
        const crowded = boxes.filter((box, index) => {
          const shape = shapes[index];
          const marks = [...box.querySelectorAll(".dot, .bucket:not([visibility=hidden]) .rim")]
            .map(placeOf)
            .filter((mark) => mark.width > 0);
          return [...box.querySelectorAll(".title, .figure")].map(placeOf).some((text) =>
            text.left < shape.left || text.right > shape.right || marks.some((mark) => isOver(mark, text)));
        });
        return [...hidden, ...crowded].map((each) => each.textContent);
        """,
        processes,
        width,
    )
    assert found == []


def test_a_rate_below_one_a_second_is_told_by_its_interval(modules: Browser) -> None:
    rates = [0, 1_012.3, 4, 1, 0.98, 0.7, 0.52, 0.44, 0.1]
    found = modules.run('const { paceOf } = await import("/map.js"); return args[0].map(paceOf)', rates)
    seldom = ["one every 1.4 s", "one every 2 s", "one every 2 s", "one every 10 s"]
    assert found == ["idle", "1,012/s", "4/s", "1/s", "1/s", *seldom]


def test_the_depth_of_a_log_is_what_its_slowest_reader_has_not_read(modules: Browser) -> None:
    def publisher(cluster: str, leader: bool, **metrics: int) -> dict[str, Any]:
        named = {f"emostream_publisher_{name}": value for name, value in metrics.items()}
        return process("publisher", f"{cluster}{leader}", cluster=cluster, leader=leader, metrics=named)

    def subscriber(cluster: str, name: str, head: int, ready: bool = True) -> dict[str, Any]:
        known = {"emostream_subscriber_head_sequence": head}
        return process("subscriber", name, cluster=cluster, metrics=known, ready=ready)

    aggregator = process("aggregator", "a", leader=True, metrics={"emostream_aggregator_lag_records": 7})
    audit = process("audit", "x", metrics={"emostream_audit_waiting_records": 5})
    relays = [
        publisher("a", True, head_sequence=50, lag_records=1),
        publisher("b", True, head_sequence=48, lag_records=3),
    ]
    standby = publisher("a", False, head_sequence=10, lag_records=40)
    readers = [
        subscriber("a", "1", 50),
        subscriber("a", "2", 44),
        subscriber("a", "3", 1, ready=False),
        subscriber("b", "4", 49),
    ]
    found = modules.run(
        """
        const { Observations } = await import("/topology.js");
        const { waitingIn } = await import("/depth.js");
        return args[0].map((processes) => {
          const { clusters, ...logs } = waitingIn(new Observations().add(processes, 0));
          return { ...logs, clusters: [...clusters] };
        });
        """,
        [
            [aggregator, audit, standby, *relays, *readers],
            [aggregator],
            [publisher("a", True, head_sequence=5, lag_records=0)],
            [],
        ],
    )
    assert found == [
        {"reactions": 5, "swarms": 3, "clusters": [["a", 6], ["b", 0]]},
        {"reactions": 7, "swarms": None, "clusters": []},
        {"reactions": None, "swarms": 0, "clusters": [["a", None]]},
        {"reactions": None, "swarms": None, "clusters": []},
    ]


def test_what_a_screen_reader_is_told_is_one_sentence(modules: Browser) -> None:
    found = modules.run('return (await import("/summary.js")).summarise({"🔥": 1200, "🎉": 30, "👏": 2, "😂": 1})')
    assert found == {"reactions": 1233, "most": "🔥 🎉 👏"}


def test_of_a_swarm_about_the_square_root_flies_as_far_as_there_is_room(modules: Browser) -> None:
    found = modules.run(
        """
        const { bounded, spritesOf } = await import("/crowd.js");
        const sprites = spritesOf({ "🔥": 10_000, "🎉": 100, "👏": 1 });
        return [sprites, spritesOf({ "🔥": 10_000 }, 0.5), ...[111, 30, 2, 0].map((room) => bounded(sprites, room))];
        """
    )
    assert found == [
        {"🔥": 100, "🎉": 10, "👏": 1},
        {"🔥": 50},
        {"🔥": 100, "🎉": 10, "👏": 1},
        {"🔥": 27, "🎉": 2, "👏": 1},
        {"🔥": 1, "🎉": 1},
        {},
    ]


def test_a_slow_machine_draws_fewer_emoji_and_never_none(modules: Browser) -> None:
    slow, fast = modules.run(
        """
        const { nextQuality } = await import("/crowd.js");
        const after = (frameMs, from) => [...Array(50)].reduce((quality) => nextQuality(quality, frameMs), from);
        return [after(60, 1), after(17, 0.15)];
        """
    )
    assert (slow, fast) == (0.15, 1)


def test_every_screen_draws_the_same_chance_from_a_swarm(modules: Browser) -> None:
    found = modules.run(
        """
        const { randomOf } = await import("/crowd.js");
        const of = (text) => {
          const random = randomOf(text);
          return [...Array(200)].map(random);
        };
        return [of("s-1 🔥"), of("s-1 🔥"), of("s-2 🔥")];
        """
    )
    first, again, other = found
    assert first == again
    assert first != other
    assert all(0 <= each < 1 for each in first + other)
    assert 0.4 < sum(first) / 200 < 0.6


SKY = """
    const skyOf = async (width, height) => {
      const { Sky } = await import("/sky.js");
      const canvas = document.createElement("canvas");
      canvas.style.cssText = `width: ${width}px; height: ${height}px`;
      document.body.append(canvas);
      const sky = new Sky(canvas);
      return { sky, canvas };
    };
"""


def test_a_small_screen_shows_fewer_of_the_same_emoji(modules: Browser) -> None:
    large, small, skipped = modules.run(
        SKY
        + """
        const shown = [];
        for (const [width, height] of [[1600, 1000], [400, 300]]) {
          const { sky, canvas } = await skyOf(width, height);
          sky.add("s-1", { "🔥": 4_000 }, { "🔥": 64 }, 2_000);
          shown.push([sky.particles, sky.skipped]);
          canvas.remove();
        }
        return [shown[0][0], shown[1][0], shown[1][1]];
        """
    )
    assert large == 64
    assert 5 <= small <= 12
    assert small + skipped == 64


def test_a_sky_has_a_bound_however_many_swarms_come_at_once(modules: Browser) -> None:
    found = modules.run(
        SKY
        + """
        const { sky, canvas } = await skyOf(1000, 900);
        for (let i = 0; i < 50; i += 1) sky.add(`s-${i}`, { "🔥": 1e6 }, { "🔥": 1000 }, 2_000);
        const flying = sky.particles;
        sky.isShown = false;
        sky.add("s-99", { "🔥": 1e6 }, { "🔥": 1000 }, 2_000);
        canvas.remove();
        return [flying, sky.particles];
        """
    )
    assert found == [200, 0], "one for 4,500 square pixels, and none while nobody can see it"


# An outbox whose requests the test answers, and a clock that the test moves.
OUTBOX = """
    const { Outbox } = await import("/outbox.js");
    const real = setTimeout;
    let timers = [];
    const settled = () => new Promise((resolve) => real(resolve, 5));
    globalThis.setTimeout = (run) => timers.push(run);
    const posts = [];
    const outbox = new Outbox((reactions) => new Promise((resolve) => posts.push({ reactions, resolve })));
    const tap = (emoji) => outbox.add({ emoji_type: emoji });
    const wait = async () => {
      const due = timers;
      timers = [];
      for (const run of due) run();
      await settled();
    };
    const sent = () => posts.map(({ reactions }) => reactions.map((each) => each.emoji_type).join(""));
    const accepted = { outcome: "accepted", isInvalid: false };
"""


def outbox(modules: Browser, script: str) -> Any:
    return modules.run(f"{OUTBOX} try {{ {script} }} finally {{ globalThis.setTimeout = real; }}")


def test_the_first_tap_goes_out_at_once_and_the_next_ones_together(modules: Browser) -> None:
    found = outbox(
        modules,
        """
        const outcomes = [tap("a"), tap("b"), tap("c")];
        const atOnce = sent();
        await wait();
        await wait();
        tap("d");
        for (const { resolve } of posts) resolve(accepted);
        const told = (await Promise.all(outcomes)).map((each) => each.outcome);
        return [atOnce, sent(), told];
        """,
    )
    assert found == [["a"], ["a", "bc", "d"], ["accepted"] * 3]


def test_no_tap_is_refused_because_others_are_on_their_way(modules: Browser) -> None:
    found = outbox(
        modules,
        """
        for (let i = 0; i < 4; i += 1) {
          tap("a");
          await wait();
        }
        const gathered = [...Array(1001)].map(() => tap("b"));
        await wait();
        const before = posts.length;
        posts[0].resolve(accepted);
        await settled();
        const last = posts[posts.length - 1];
        last.resolve(accepted);
        const outcomes = await Promise.all(gathered);
        return [before, last.reactions.length, outcomes.filter((each) => each.outcome === "refused").length];
        """,
    )
    assert found == [4, 1_000, 1], (
        "four requests wait for an answer, a full one gathers, and what is past it is refused"
    )


def test_an_emoji_that_is_not_in_the_palette_takes_no_other_with_it(modules: Browser) -> None:
    found = outbox(
        modules,
        """
        tap("a");
        const outcomes = ["b", "x", "b"].map(tap);
        await wait();
        posts[1].resolve({ outcome: "refused", reason: "no emoji", isInvalid: true });
        await settled();
        posts[2].resolve(accepted);
        posts[3].resolve({ outcome: "refused", reason: "no emoji", isInvalid: true });
        return [sent(), (await Promise.all(outcomes)).map((each) => each.outcome)];
        """,
    )
    assert found == [["a", "bxb", "bb", "x"], ["accepted", "refused", "accepted"]]


def test_the_rate_is_that_of_ten_seconds_and_falls_when_nobody_reacts(modules: Browser) -> None:
    found = modules.run(
        """
        const { Pace } = await import("/pace.js");
        const pace = new Pace();
        const before = pace.perSecond(0);
        pace.add(100, 250, 10_000);
        const first = pace.perSecond(10_000);
        for (let at = 10_500; at <= 20_000; at += 500) pace.add(50, 500, at);
        return [before, first, pace.perSecond(20_000), pace.perSecond(25_000), pace.perSecond(40_000)];
        """
    )
    assert found == [0, 100, 100, 50, 0]


def test_the_recent_emoji_come_first(modules: Browser) -> None:
    found = modules.run(
        """
        const { chosen, ordered, withRecent } = await import("/bar.js");
        const named = chosen(["🔥", "❤️", "👏"], " ❤, 🦄 🔥");
        return [ordered(["🔥", "🎉", "❤️"], ["❤️", "🦄"]), named, withRecent(["🔥", "👏"], "👏")];
        """
    )
    assert found == [["❤️", "🔥", "🎉"], ["❤️", "🔥"], ["👏", "🔥"]]


def test_the_connection_rests_while_no_element_has_been_visible_for_a_while(modules: Browser) -> None:
    found = modules.run(
        """
        const { Hub } = await import("/hub.js");
        const did = [];
        const stream = new EventTarget();
        stream.start = () => did.push("start");
        stream.stop = () => did.push("stop");
        stream.state = { name: "live", reason: "" };
        const real = { setTimeout, clearTimeout };
        let timer = null;
        globalThis.setTimeout = (run, ms) => (timer = { run, ms });
        globalThis.clearTimeout = () => (timer = null);
        try {
          const hub = new Hub(stream);
          const [first, second] = [{}, {}];
          hub.join(first, true);
          hub.join(second, false);
          hub.join(first, false);
          did.push(timer.ms);
          hub.join(second, true);
          did.push(timer);
          hub.join(second, false);
          timer.run();
          hub.join(first, true);
          hub.leave(first);
          hub.leave(second);
          did.push(timer.ms);
          return did;
        } finally {
          Object.assign(globalThis, real);
        }
        """
    )
    assert found == ["start", "start", 30_000, "start", None, "stop", "start", 0]

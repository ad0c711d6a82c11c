/** This client does what clients/cases.json says. The Python client runs the same cases. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { EmoStream, EventStreamParser, backoffMs, expand } from "emostream-client";

import { Servers } from "./servers.js";

const cases = JSON.parse(readFileSync(new URL("../../cases.json", import.meta.url), "utf8"));
const TOLD = ["snapshot", "swarm", "reset", "end"];

for (const each of cases.viewer) {
  for (const transport of each.over ?? ["sse", "ws"]) {
    test(`${transport}: ${each.what}`, async () => {
      const servers = new Servers(each, transport);
      const delivered = [];
      const { event, draw = 0 } = each;
      const stream = new EmoStream({ registryUrl: "http://registry", event, userId: "u1", random: () => draw });
      for (const type of TOLD) stream.addEventListener(type, ({ detail }) => delivered.push(`${type} ${detail.id}`));
      try {
        stream.start();
        await servers.playFor(stream);
        assert.deepEqual(delivered, each.delivered);
        assert.deepEqual(stream.totals, each.totals);
        assert.equal(stream.state.name, each.ends);
      } finally {
        stream.stop();
        servers.close();
      }
    });
  }
}

for (const { what, totals, compact, swarm } of cases.compact) {
  test(`a swarm in the compact form is made whole: ${what}`, () => {
    assert.deepEqual(expand(compact, totals), swarm);
    assert.deepEqual(expand(swarm, {}), swarm);
  });
}

test("the back-off grows to a bound", () => {
  for (const { failures, draw, ms } of cases.backoff)
    assert.equal(
      backoffMs(failures, () => draw),
      ms,
    );
});

for (const { what, text, events, retry_ms } of cases.event_streams) {
  test(`an event stream is parsed from pieces of any size: ${what}`, () => {
    for (const size of [1, 2, 7, 1_000]) {
      const parser = new EventStreamParser();
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, n) =>
        text.slice(n * size, (n + 1) * size),
      );
      const found = pieces.flatMap((piece) => parser.push(piece)).map(({ type, data }) => [type, data]);
      assert.deepEqual([found, parser.retryMs], [events, retry_ms]);
    }
  });
}

for (const each of cases.reactions) {
  test(`an answer of ingest has one outcome: ${each.status} ${each.reason}`, async () => {
    const sent = [];
    const servers = new Servers({ steps: [], reaction: each, onReaction: (reaction) => sent.push(reaction) }, "sse");
    try {
      const stream = new EmoStream({ ingestUrl: "http://ingest", userId: "u1", random: () => 0 });
      const { outcome, reason, record } = await servers.waitFor(stream.react("🔥"));
      assert.deepEqual(
        [outcome, reason, record],
        [each.outcome, each.reason, each.outcome === "accepted" ? each.body.record : null],
      );
      // Only 503 says that nothing was taken, so only then is it sent again.
      assert.equal(sent.length, each.status === 503 ? 4 : 1);
      assert.deepEqual([sent[0].user_id, sent[0].emoji_type], ["u1", "🔥"]);
    } finally {
      servers.close();
    }
  });
}

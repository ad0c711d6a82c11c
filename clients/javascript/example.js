// node example.js http://127.0.0.1:8001 main
import { EmoStream } from "emostream-client";

const [registryUrl = "http://127.0.0.1:8001", event = "main"] = process.argv.slice(2);
const stream = new EmoStream({ registryUrl, event });

stream.addEventListener("state", ({ detail }) => console.log(detail.name, detail.subscriber, detail.reason));
stream.addEventListener("snapshot", ({ detail }) => console.log("totals", detail.totals));
stream.start();

const { outcome, reason, record } = await stream.react("🔥"); // accepted, refused or unknown
console.log(outcome, reason);

stream.addEventListener("swarm", async ({ detail }) => {
  console.log(`swarm ${detail.sequence}`, detail.counts);
  const trace = await stream.trace(record);
  if (!trace) return; // a later swarm will count it
  console.log(`counted by swarm ${trace.sequence}`);
  stream.stop();
});

/** Installs a package as others do, imports it, and checks a program in strict TypeScript. `node verify.js TARBALL` */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = `
import { EmoStream, type Outcome, type Swarm } from "emostream-client";

const stream = new EmoStream({ registryUrl: "http://127.0.0.1:8001", event: "final" });
stream.addEventListener("swarm", ({ detail }) => {
  const swarm: Swarm = detail;
  console.log(swarm.counts["🔥"], detail.window.end);
});
// @ts-expect-error There is no such event.
stream.addEventListener("swarms", () => {});
export const outcome: Promise<Outcome> = stream.react("🔥");
`;

const tarball = resolve(process.argv[2]);
const folder = mkdtempSync(join(tmpdir(), "emostream-client-"));
const run = (command, ...args) => execFileSync(command, args, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
try {
  writeFileSync(join(folder, "package.json"), '{"type": "module", "private": true}');
  run("npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", tarball);
  writeFileSync(join(folder, "program.ts"), PROGRAM);
  const tsc = fileURLToPath(new URL("node_modules/typescript/bin/tsc", import.meta.url));
  const options = ["--strict", "--noEmit", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"];
  run(process.execPath, tsc, ...options, "--lib", "es2022,dom", "program.ts");
  run(process.execPath, "--input-type=module", "--eval", 'new (await import("emostream-client")).EmoStream({})');
  console.log(`${tarball}: imported, and its declarations are as expected`);
} finally {
  rmSync(folder, { recursive: true });
}

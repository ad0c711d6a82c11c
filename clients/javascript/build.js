/** Makes lib/ from the modules of the page, which are the one source. `npm run build` adds their declarations. */

import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const IMPORTED = /from "\.\/([\w-]+\.js)"/g;

/** Copy a module and all that it imports. */
function add(name) {
  copyFileSync(at(`../../emostream/web/${name}`), at(`lib/${name}`));
  for (const [, other] of readFileSync(at(`lib/${name}`), "utf8").matchAll(IMPORTED)) add(other);
}

rmSync(at("lib"), { recursive: true, force: true });
mkdirSync(at("lib"));
add("emostream.js");
copyFileSync(at("../../LICENSE"), at("LICENSE"));

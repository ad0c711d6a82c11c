/** Puts taps into requests: the first goes out at once, and those within 150 ms after it go out together. */

const GATHER_MS = 150;
// Ingest takes no more in one request.
const MAX_REACTIONS_PER_REQUEST = 1_000;
// While this many requests wait for an answer, taps gather for the next one. When that one is full, a tap is refused.
const MAX_REQUESTS = 4;

/** @typedef {import("./emostream.js").Outcome} Outcome */

export class Outbox {
  #post;
  #gathered = [];
  #requests = 0;
  #timer = 0;

  /** @param {(reactions: object[]) => Promise<Outcome & {isInvalid?: boolean}>} post   never rejects */
  constructor(post) {
    this.#post = post;
  }

  /** Send a reaction with the others of its time. @returns {Promise<Outcome>} */
  async add(reaction) {
    if (this.#gathered.length === MAX_REACTIONS_PER_REQUEST) {
      return { outcome: "refused", reason: "too many reactions are on their way", record: null };
    }
    return new Promise((resolve) => {
      this.#gathered.push({ reaction, resolve });
      this.#flush();
    });
  }

  #flush() {
    if (this.#timer || this.#requests >= MAX_REQUESTS || this.#gathered.length === 0) return;
    const group = this.#gathered;
    this.#gathered = [];
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#flush();
    }, GATHER_MS);
    this.#send(group);
  }

  async #send(group) {
    this.#requests += 1;
    const { isInvalid, ...outcome } = await this.#post(group.map(({ reaction }) => reaction));
    this.#requests -= 1;
    const parts = isInvalid ? byEmoji(group) : [group];
    // One emoji that is not in the palette must not take the others with it.
    if (parts.length > 1) for (const part of parts) this.#send(part);
    else for (const { resolve } of group) resolve(outcome);
    this.#flush();
  }
}

function byEmoji(group) {
  const parts = new Map();
  for (const each of group) parts.set(each.reaction.emoji_type, [...(parts.get(each.reaction.emoji_type) ?? []), each]);
  return [...parts.values()];
}

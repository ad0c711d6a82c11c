/**
 * Which emoji of a swarm fly, and how: the same on every screen, because chance is drawn from the swarm's id.
 * A small screen shows fewer of them, and always the first ones. Pure.
 */

// On average, this much of the screen is for one emoji in flight, in CSS pixels.
const AREA_OF_ONE_PX = 4_500;
const MEAN_LIFE_MS = 5_500;
// A frame that takes longer is too slow. A phone that saves power draws one in 33 ms, although it could do more.
const SLOW_FRAME_MS = 40;
const MIN_QUALITY = 0.15;

/** How many emoji to show for exact counts: about the square root of each. */
export function spritesOf(counts, density = 1) {
  return Object.fromEntries(
    Object.entries(counts).map(([emoji, count]) => [emoji, Math.ceil(Math.sqrt(count) * density)]),
  );
}

/** The sum of the counts of all emoji. */
export const sumOf = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** The same proportions with at most `room` emoji in all. While there is room, each kind has at least one. */
export function bounded(sprites, room) {
  const all = sumOf(sprites);
  if (all <= room) return sprites;
  let left = room;
  const kept = {};
  // The most frequent first: if there is no room for every kind, the rare ones are left out.
  for (const [emoji, number] of Object.entries(sprites).sort(([, a], [, b]) => b - a)) {
    const share = Math.min(left, Math.max(1, Math.floor((number * room) / all)));
    if (share > 0) kept[emoji] = share;
    left -= Math.max(share, 0);
  }
  return kept;
}

/** How many emoji may be in flight on a screen of this area, in CSS pixels. */
export const mostInFlight = (areaPx, quality) => Math.ceil((areaPx / AREA_OF_ONE_PX) * quality);

/** How many of them one swarm may add, so that those of the swarms before it still have their place. */
export const mostOfSwarm = (inFlight, spreadMs) => Math.ceil((inFlight * Math.max(spreadMs, 250)) / MEAN_LIFE_MS);

/** The share of the emoji that this machine can draw, from 0.15 to 1, after a swarm with this mean time of a frame. */
export function nextQuality(quality, frameMs) {
  return frameMs > SLOW_FRAME_MS ? Math.max(MIN_QUALITY, quality * 0.8) : Math.min(1, quality * 1.05);
}

/** The size of an emoji, about 1. It stands for many reactions, and is larger the more it stands for. */
export const scaleOf = (count, sprites) => 1 + Math.log10(Math.max(count / sprites, 1)) / 5;

/** Numbers from 0 to 1 that look random and are the same for the same text (FNV-1a, then mulberry32). */
export function randomOf(text) {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The sky: draws swarms on a canvas. Emoji rise, sway and fade.
 *
 * It is built for thousands of reactions a second, so it allocates no memory while it runs. Particles come from a pool,
 * and their position is a function of their age. Each emoji is drawn once to its own canvas and then copied.
 */

import { bounded, mostInFlight, mostOfSwarm, nextQuality, randomOf, scaleOf, sumOf } from "./crowd.js";
import { EMOJI_FONT, whenDrawable } from "./emoji_font.js";
import { Flights } from "./flights.js";

// The size of the pool. It includes particles that start later. If the pool is full, further particles are not drawn,
// and `skipped` counts them.
const MAX_PARTICLES = 1_500;
// At most this many emoji are kept as sprites. Past that, the oldest sprite is dropped, and drawn again when needed.
const MAX_SPRITES = 256;
const SPRITE_PX = 64;
const MAX_PIXEL_RATIO = 2;
// A longer time between two frames is a pause: the tab was hidden, or nothing flew.
const MAX_FRAME_MS = 250;

export class Sky {
  #canvas;
  #context;
  #particles = Array.from({ length: MAX_PARTICLES }, newParticle);
  #alive = 0;
  #sprites = new Map();
  #halo;
  #flights = new Flights();
  #observer = new ResizeObserver(() => this.#resize());
  #isReady = false;
  #isShown = true;
  #lastFrameAt = 0;
  #meanFrameMs = 0;
  #quality = 1;
  #width = 0;
  #height = 0;
  #pixelRatio = 1;
  #frameRequest = 0;
  /** The number of frames drawn so far (`frames`), and of particles not drawn because the pool was full (`skipped`). */
  frames = 0;
  skipped = 0;
  /** Without motion: emoji appear and fade, but do not move. */
  still = false;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#observer.observe(canvas);
    // Sprites that were drawn before a font was loaded must be drawn again.
    document.fonts.addEventListener("loadingdone", this.#redrawSprites);
    this.#resize();
    whenDrawable().then(() => {
      this.#isReady = true;
      this.#redrawSprites();
    });
  }

  /** Draw no more. */
  close() {
    this.isShown = false;
    this.#observer.disconnect();
    document.fonts.removeEventListener("loadingdone", this.#redrawSprites);
  }

  /** Nothing is drawn while nobody can see it, and what was in flight is gone. */
  set isShown(isShown) {
    if (!isShown) this.clear();
    this.#isShown = isShown;
  }

  /** Let all that flies be gone. */
  clear() {
    this.#alive = 0;
    this.#flights.clear();
    this.#wake();
  }

  /** The number of particles in flight or about to start. */
  get particles() {
    return this.#alive;
  }

  /**
   * Show a swarm.
   * @param {string} id                        of the swarm: on each screen, the same emoji fly in the same way
   * @param {Object<string, number>} counts    emoji → how often it was sent
   * @param {Object<string, number>} sprites   emoji → how many to show, if the screen has room for them
   * @param {number} spreadMs                  time over which they start, so that swarms join without a pause
   */
  add(id, counts, sprites, spreadMs) {
    if (!this.#isShown || document.hidden) return;
    if (this.#meanFrameMs) this.#quality = nextQuality(this.#quality, this.#meanFrameMs);
    const inFlight = mostInFlight(this.#width * this.#height, this.#quality);
    const room = Math.min(mostOfSwarm(inFlight, spreadMs), inFlight - this.#alive, MAX_PARTICLES - this.#alive);
    const now = performance.now();
    const shown = bounded(sprites, Math.max(0, room));
    for (const [emoji, number] of Object.entries(shown)) {
      const random = randomOf(`${id} ${emoji}`);
      // Steps of the golden ratio spread the starts evenly over the interval, however many there are.
      let slot = random();
      for (let i = 0; i < number; i += 1) {
        slot = (slot + 0.618034) % 1;
        this.#launch(emoji, now + slot * spreadMs, scaleOf(counts[emoji], number), random);
      }
    }
    this.skipped += sumOf(sprites) - sumOf(shown);
    this.#wake();
  }

  /**
   * Let the viewer's own emoji leave from a place of the window, at once.
   * @param {{x: number, y: number}} from   in CSS pixels of the window
   * @returns {{end: (how: "counted"|"refused"|"lost", label?: string) => void}}
   */
  addOwn(emoji, from) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    const place = { x: from.x - left, y: from.y - top };
    const flight = this.#flights.launch(this.#sprite(emoji), place, performance.now());
    this.#wake();
    return flight;
  }

  /** Draw the sprites of these emoji before they are needed. */
  prepare(emoji) {
    for (const each of emoji) this.#sprite(each);
  }

  /** Each emoji takes the same number of random numbers, so the first ones are the same however many follow. */
  #launch(emoji, bornAt, scale, random) {
    const depth = random();
    const particle = this.#particles[this.#alive];
    this.#alive += 1;
    particle.sprite = this.#sprite(emoji);
    particle.bornAt = bornAt;
    particle.lifeMs = 4_200 + 2_600 * (1 - depth);
    particle.size = (24 + 22 * depth) * scale;
    // The mean of two random numbers makes the swarm denser in the middle.
    particle.x = (random() + random()) / 2 + (random() - 0.5) * 0.5;
    particle.y = random();
    particle.reach = 0.7 + 0.4 * random();
    particle.sway = 0.02 + 0.05 * random();
    particle.phase = random() * 2 * Math.PI;
    particle.turns = 2 + 4 * random();
  }

  #wake() {
    this.#frameRequest ||= requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now) {
    this.#frameRequest = 0;
    this.#context.setTransform(1, 0, 0, 1, 0, 0);
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#noteFrame(now);
    for (let i = this.#alive - 1; i >= 0; i -= 1) {
      const particle = this.#particles[i];
      const age = (now - particle.bornAt) / particle.lifeMs;
      if (age >= 1) this.#retire(i);
      else if (age >= 0 && this.#isReady) this.#draw(particle, age);
    }
    if (this.#isReady) this.#flights.draw(this.#context, now, this.#ownSky());
    // When nothing flies, no frame is requested, so an idle page costs nothing.
    if (this.#alive > 0 || this.#flights.size > 0) this.#wake();
    this.frames += 1;
  }

  #ownSky() {
    return {
      width: this.#width,
      height: this.#height,
      ratio: this.#pixelRatio,
      still: this.still,
      halo: this.#halo,
    };
  }

  /** Keep the mean time between frames, which also counts what the browser and the rest of the page need. */
  #noteFrame(now) {
    const frameMs = now - this.#lastFrameAt;
    this.#lastFrameAt = now;
    if (frameMs < MAX_FRAME_MS) this.#meanFrameMs += (frameMs - this.#meanFrameMs) / 30;
  }

  #retire(index) {
    this.#alive -= 1;
    const last = this.#particles[this.#alive];
    this.#particles[this.#alive] = this.#particles[index];
    this.#particles[index] = last;
  }

  #draw(particle, age) {
    const swing = this.still ? 0 : Math.sin(particle.phase + age * particle.turns);
    const grown = this.still ? 1 : Math.min(1, 0.4 + age * 9);
    const size = particle.size * grown;
    const x = (particle.x + particle.sway * swing) * this.#width;
    const risen = this.still ? 0.15 + 0.75 * particle.y : age ** 0.9 * particle.reach;
    const y = this.#height * (1 - risen) + (this.still ? 0 : particle.size);
    const tilt = 0.25 * swing;
    const ratio = this.#pixelRatio;
    const cos = Math.cos(tilt) * ratio;
    const sin = Math.sin(tilt) * ratio;
    const context = this.#context;
    context.globalAlpha = Math.min(1, age * 10, (1 - age) * 3);
    context.setTransform(cos, sin, -sin, cos, x * ratio, y * ratio);
    context.drawImage(particle.sprite, -size / 2, -size / 2, size, size);
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas;
    const pixelRatio = Math.min(devicePixelRatio, MAX_PIXEL_RATIO);
    this.#width = clientWidth;
    this.#height = clientHeight;
    this.#canvas.width = Math.round(clientWidth * pixelRatio);
    this.#canvas.height = Math.round(clientHeight * pixelRatio);
    if (pixelRatio !== this.#pixelRatio || !this.#halo) {
      this.#pixelRatio = pixelRatio;
      this.#sprites.clear();
      this.#halo = drawHalo(SPRITE_PX * pixelRatio);
    }
  }

  #sprite(emoji) {
    let sprite = this.#sprites.get(emoji);
    if (!sprite) {
      if (this.#sprites.size === MAX_SPRITES) this.#sprites.delete(this.#sprites.keys().next().value);
      sprite = newCanvas(SPRITE_PX * this.#pixelRatio);
      drawEmoji(sprite, emoji);
      this.#sprites.set(emoji, sprite);
    }
    return sprite;
  }

  #redrawSprites = () => {
    for (const [emoji, sprite] of this.#sprites) drawEmoji(sprite, emoji);
  };
}

function newParticle() {
  return { sprite: null, bornAt: 0, lifeMs: 0, size: 0, x: 0, y: 0, reach: 0, sway: 0, phase: 0, turns: 0 };
}

function drawEmoji(canvas, emoji) {
  const sizePx = canvas.width;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, sizePx, sizePx);
  context.font = `${Math.round(sizePx * 0.8)}px ${EMOJI_FONT}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(emoji, sizePx / 2, sizePx * 0.54);
}

function drawHalo(sizePx) {
  const canvas = newCanvas(sizePx);
  const context = canvas.getContext("2d");
  const radius = sizePx / 2;
  const glow = context.createRadialGradient(radius, radius, radius * 0.3, radius, radius, radius);
  glow.addColorStop(0, "rgb(255 196 84 / 0.75)");
  glow.addColorStop(1, "rgb(255 196 84 / 0)");
  context.fillStyle = glow;
  context.fillRect(0, 0, sizePx, sizePx);
  return canvas;
}

function newCanvas(sizePx) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.round(sizePx);
  return canvas;
}

/**
 * Draws swarms on a canvas: emoji rise, sway and fade.
 *
 * It is built for thousands of reactions a second, so it allocates no memory while it runs. Particles come from a pool,
 * and their position is a function of their age. Each emoji is drawn once to its own canvas and then copied.
 */

// The size of the pool. It includes particles that start later. If the pool is full, further particles are not drawn,
// and `skipped` counts them.
const MAX_PARTICLES = 1_500;
// At most this many emoji are kept as sprites. Past that, the oldest sprite is dropped, and drawn again when needed.
const MAX_SPRITES = 256;
const SPRITE_PX = 64;
const MAX_PIXEL_RATIO = 2;
const TIMED_FRAMES = 1_024;
const FONT = `"Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", "EmoStream Emoji", sans-serif`;

export class SwarmCanvas {
  #canvas;
  #context;
  #random;
  #particles = Array.from({ length: MAX_PARTICLES }, newParticle);
  #alive = 0;
  #sprites = new Map();
  #halo;
  #width = 0;
  #height = 0;
  #pixelRatio = 1;
  #frameRequest = 0;
  #frameTimesMs = new Float32Array(TIMED_FRAMES);
  /** The number of frames drawn so far (`frames`), and of particles not drawn because the pool was full (`skipped`). */
  frames = 0;
  skipped = 0;
  /** For people who prefer reduced motion: emoji appear and fade, but do not move. */
  still = false;

  constructor(canvas, random = Math.random) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#random = random;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    // Sprites that were drawn before a font was loaded must be drawn again.
    document.fonts.addEventListener("loadingdone", () => this.#redrawSprites());
    this.#resize();
  }

  /** The number of particles in flight or about to start. */
  get particles() {
    return this.#alive;
  }

  /**
   * Show a swarm.
   * @param {Object<string, number>} swarm     emoji → how many to show
   * @param {number} spreadMs                  time over which the particles start, so that swarms join without a pause
   * @param {(emoji: string) => number} scale  size of each emoji's sprites, about 1
   */
  add(swarm, spreadMs, scale = () => 1) {
    const now = performance.now();
    const shown = Object.values(swarm).reduce((sum, count) => sum + count, 0);
    // Steps of the golden ratio spread the starts of each emoji evenly over the interval.
    let slot = this.#random();
    for (const [emoji, count] of Object.entries(swarm)) {
      for (let i = 0; i < count; i += 1) {
        slot = (slot + 0.618034) % 1;
        const jitter = this.#random() / Math.max(shown, 1);
        this.#launch(emoji, now + (slot + jitter) * spreadMs, scale(emoji), false);
      }
    }
    this.#wake();
  }

  /** Show the user's own reaction at once, larger and with a halo. */
  addOwn(emoji) {
    this.#launch(emoji, performance.now(), 1.5, true);
    this.#wake();
  }

  /** Draw the sprites of these emoji before they are needed. */
  prepare(emoji) {
    for (const each of emoji) this.#sprite(each);
  }

  /** Statistics of the script time per frame, in ms, over the last frames. `frames` counts all frames. */
  frameTimes() {
    const times = this.#frameTimesMs.slice(0, Math.min(this.frames, TIMED_FRAMES)).sort();
    const quantile = (q) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0;
    return { frames: this.frames, median: quantile(0.5), p99: quantile(0.99), max: quantile(1) };
  }

  #launch(emoji, bornAt, scale, isOwn) {
    if (this.#alive === MAX_PARTICLES) {
      this.skipped += 1;
      return;
    }
    const random = this.#random;
    const depth = random();
    const particle = this.#particles[this.#alive];
    this.#alive += 1;
    particle.sprite = this.#sprite(emoji);
    particle.isOwn = isOwn;
    particle.bornAt = bornAt;
    particle.lifeMs = isOwn ? 4_500 : 4_200 + 2_600 * (1 - depth);
    particle.size = (24 + 22 * depth) * scale;
    // The mean of two random numbers makes the swarm denser in the middle.
    particle.x = isOwn ? 0.5 : (random() + random()) / 2 + (random() - 0.5) * 0.5;
    particle.y = random();
    particle.reach = isOwn ? 0.8 : 0.7 + 0.4 * random();
    particle.sway = 0.02 + 0.05 * random();
    particle.phase = random() * 2 * Math.PI;
    particle.turns = 2 + 4 * random();
  }

  #wake() {
    this.#frameRequest ||= requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now) {
    const startedAt = performance.now();
    this.#frameRequest = 0;
    this.#context.setTransform(1, 0, 0, 1, 0, 0);
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (let i = this.#alive - 1; i >= 0; i -= 1) {
      const particle = this.#particles[i];
      const age = (now - particle.bornAt) / particle.lifeMs;
      if (age >= 1) this.#retire(i);
      else if (age >= 0) this.#draw(particle, age);
    }
    // Without particles, no frame is requested, so an idle page costs nothing.
    if (this.#alive > 0) this.#wake();
    this.#frameTimesMs[this.frames % TIMED_FRAMES] = performance.now() - startedAt;
    this.frames += 1;
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
    if (particle.isOwn) context.drawImage(this.#halo, -size, -size, 2 * size, 2 * size);
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

  #redrawSprites() {
    for (const [emoji, sprite] of this.#sprites) drawEmoji(sprite, emoji);
  }
}

function newParticle() {
  const numbers = { bornAt: 0, lifeMs: 0, size: 0, x: 0, y: 0, reach: 0, sway: 0, phase: 0, turns: 0 };
  return { sprite: null, isOwn: false, ...numbers };
}

function drawEmoji(canvas, emoji) {
  const sizePx = canvas.width;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, sizePx, sizePx);
  context.font = `${Math.round(sizePx * 0.8)}px ${FONT}`;
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

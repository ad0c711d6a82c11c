/**
 * The viewer's own emoji in flight. Each leaves from its button at once, and waits in the air until it is known what
 * became of it: then it is marked as counted and flies on, falls back if it was refused, or fades.
 */

// Past this, a tap is sent and counted without a flight of its own.
const MAX_FLIGHTS = 48;
const CLIMB_MS = 900;
// After this time without news, an emoji fades.
const MAX_WAIT_MS = 20_000;
/** How long each end takes. */
const END_MS = { counted: 2_600, refused: 600, lost: 900 };
const SIZE_PX = 44;

export class Flights {
  #flights = new Set();

  get size() {
    return this.#flights.size;
  }

  /**
   * @param {CanvasImageSource} sprite
   * @param {{x: number, y: number}} from   where the button is, in CSS pixels of the canvas
   * @returns {{end: (how: "counted"|"refused"|"lost", label?: string) => void}}
   */
  launch(sprite, from, now) {
    const flight = { sprite, from, startedAt: now, how: "", endedAt: 0, label: "", lean: Math.random() - 0.5 };
    if (this.#flights.size < MAX_FLIGHTS) this.#flights.add(flight);
    return {
      end: (how, label = "") => {
        if (!flight.how) Object.assign(flight, { how, label, endedAt: performance.now() });
      },
    };
  }

  clear() {
    this.#flights.clear();
  }

  /** Draw all of them. @param {{width: number, height: number, ratio: number, still: boolean, halo: object}} sky */
  draw(context, now, sky) {
    for (const flight of this.#flights) {
      if (!flight.how && now - flight.startedAt > MAX_WAIT_MS) Object.assign(flight, { how: "lost", endedAt: now });
      const ending = flight.how ? (now - flight.endedAt) / END_MS[flight.how] : 0;
      if (ending >= 1) this.#flights.delete(flight);
      else drawOne(context, flight, now, Math.max(0, ending), sky);
    }
  }
}

function drawOne(context, flight, now, ending, sky) {
  const { x, y } = placeOf(flight, now, ending, sky);
  const size = SIZE_PX * (flight.how === "refused" ? 1 - 0.5 * ending : 1);
  context.setTransform(sky.ratio, 0, 0, sky.ratio, x * sky.ratio, y * sky.ratio);
  // The label stays readable for most of its time.
  context.globalAlpha = flight.how === "counted" ? Math.min(1, 3 * (1 - ending)) : 1 - ending;
  if (flight.how !== "refused") context.drawImage(sky.halo, -size, -size, 2 * size, 2 * size);
  context.drawImage(flight.sprite, -size / 2, -size / 2, size, size);
  if (flight.label) drawLabel(context, flight.label, size * 0.75, x, sky.width);
}

function placeOf({ from, startedAt, how, lean }, now, ending, { height, still }) {
  const hover = Math.min(0.42 * height, 320, Math.max(90, height - 300));
  const risen = still ? 1 : 1 - (1 - Math.min(1, Math.max(0, (now - startedAt) / CLIMB_MS))) ** 3;
  const swing = still ? 0 : Math.sin((now - startedAt) / 500 + 6 * lean) * 6;
  const onwards = how === "counted" && !still ? ending * 0.1 * height : 0;
  const back = how === "refused" && !still ? ending ** 2 : 0;
  const climbed = (hover * risen + onwards) * (1 - back);
  return { x: from.x + (lean * 120 * risen + swing) * (1 - back), y: Math.max(SIZE_PX, from.y - climbed) };
}

/** White on black at any background, and inside of the canvas. */
function drawLabel(context, label, below, x, width) {
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const half = context.measureText(label).width / 2 + 9;
  const shift = Math.max(half - x, Math.min(0, width - half - x));
  context.fillStyle = "rgb(12 10 29 / 0.86)";
  context.fillRect(shift - half, below, 2 * half, 24);
  context.fillStyle = "#fff";
  context.fillText(label, shift, below + 12.5);
}

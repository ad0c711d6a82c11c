/** The font of the emoji: the machine's, or ours of the default palette where the machine has none. */

const MACHINES = `"Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji"`;
export const EMOJI_FONT = `${MACHINES}, "EmoStream Emoji", sans-serif`;

// Browsers load it only when a text needs it: an emoji that no earlier font has, and not a sign such as ✓ beside it.
const source = `url("${new URL("emoji.woff2", import.meta.url)}")`;
const ours = new FontFace("EmoStream Emoji", source, { unicodeRange: "U+26BD, U+2764, U+1F???" });
// Firefox refuses its bitmaps (CBDT), and brings an emoji font of its own. What older browsers take, they do not say.
if (!CSS.supports("font-tech(variations)") || CSS.supports("font-tech(color-CBDT)")) document.fonts.add(ours);

/** Wait until emoji can be drawn. Never rejects: if our font cannot be loaded, a machine shows what it has. */
export async function whenDrawable() {
  if (!drawsColour()) await ours.load().catch(() => {});
}

/** Whether the machine's own fonts draw an emoji in colour. A box, or a glyph of a text font, is black. */
function drawsColour() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 24;
  const context = canvas.getContext("2d");
  context.font = `20px ${MACHINES}, sans-serif`;
  context.fillText("🔥", 0, 20);
  const { data } = context.getImageData(0, 0, 24, 24);
  for (let i = 0; i < data.length; i += 4) if (data[i] - data[i + 2] > 60) return true;
  return false;
}

/** What the element says: in English here, and in files of their own in other languages. */

/**
 * @typedef {{lang: string, dir: "ltr"|"rtl", bar: string, more: string, stop: string,
 *            reactWith: (emoji: string) => string, one: (count: string) => string,
 *            some: (own: string, count: string) => string, counted: (emoji: string, what: string) => string,
 *            refused: (emoji: string, reason: string) => string, unknown: (emoji: string, reason: string) => string,
 *            ended: string}} Texts
 */

const ENGLISH = {
  dir: "ltr",
  bar: "Reactions",
  more: "More emoji",
  stop: "Stop the motion",
  reactWith: (emoji) => `React with ${emoji}`,
  one: (count) => `one of exactly ${count}`,
  some: (own, count) => `${own} of exactly ${count}`,
  counted: (emoji, what) => `✓ ${emoji} counted: ${what}`,
  refused: (emoji, reason) => `✕ ${emoji} was not sent: ${reason}`,
  unknown: (emoji, reason) => `? ${emoji} may or may not have been counted: ${reason}`,
  ended: "The event has ended",
};

const TAG = /^[a-z]{2,3}(-[a-z0-9]{2,8})*$/i;
/** The languages beside English. */
const OTHERS = ["hi", "ar"];

/**
 * The texts of the first of these languages that there is. English if there is none, or if it cannot be loaded.
 * @returns {Promise<Texts>}
 */
export async function textsOf(languages) {
  for (const lang of languages.filter((each) => TAG.test(each))) {
    const [language] = lang.toLowerCase().split("-");
    if (language === "en") return { ...ENGLISH, lang };
    if (!OTHERS.includes(language)) continue;
    const module = await import(new URL(`messages_${language}.js`, import.meta.url)).catch(() => null);
    if (module) return { ...module.texts, lang };
  }
  return { ...ENGLISH, lang: "en" };
}

/** The languages to try for an element, the best first: its own, that of the page around it, and the browser's. */
export function languagesOf(element) {
  const around = element.parentElement?.closest("[lang]")?.lang;
  return [element.lang || around, ...navigator.languages].filter(Boolean);
}

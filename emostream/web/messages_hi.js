/** What the element says in Hindi. It is loaded where it is needed. */

export const texts = {
  dir: "ltr",
  bar: "प्रतिक्रियाएँ",
  more: "और इमोजी",
  stop: "हलचल रोकें",
  reactWith: (emoji) => `${emoji} भेजें`,
  one: (count) => `ठीक ${count} में से एक`,
  some: (own, count) => `ठीक ${count} में से ${own}`,
  counted: (emoji, what) => `✓ ${emoji} गिना गया: ${what}`,
  refused: (emoji, reason) => `✕ ${emoji} नहीं भेजा गया: ${reason}`,
  unknown: (emoji, reason) => `? पता नहीं कि ${emoji} गिना गया या नहीं: ${reason}`,
  ended: "कार्यक्रम समाप्त हो गया",
};

/** What the element says in Arabic. It is loaded where it is needed. */

export const texts = {
  dir: "rtl",
  bar: "التفاعلات",
  more: "المزيد من الرموز",
  stop: "أوقف الحركة",
  reactWith: (emoji) => `تفاعل بـ ${emoji}`,
  one: (count) => `واحد من ${count} بالضبط`,
  some: (own, count) => `${own} من ${count} بالضبط`,
  counted: (emoji, what) => `✓ احتُسب ${emoji}: ${what}`,
  refused: (emoji, reason) => `✕ لم يُرسل ${emoji}: ${reason}`,
  unknown: (emoji, reason) => `? لا يُعرف إن كان ${emoji} قد احتُسب: ${reason}`,
  ended: "انتهى الحدث",
};

/** What the page says to viewers, by language. The texts of index.html are the English ones. */

const ENGLISH = {
  connecting: "Connecting …",
  live: "LIVE",
  watching: (count) => `LIVE, ${count} watching`,
  waiting: (reason, seconds) => `${reason}; again in ${seconds} s`,
  ended: "The event has ended",
  stopped: "Stopped",
  counted: (emoji, share, seconds) => `Your ${emoji}: ${share}, seen after ${seconds} s`,
  one: (count) => `one of exactly ${count}`,
  some: (own, count) => `${own} of exactly ${count}`,
  endedWith: (count) => `The event has ended with ${count} reactions.`,
  summary: (count, seconds, most) => `${count} reactions in the last ${seconds} seconds, most of them ${most}.`,
  viewers: (count, isOne, perSecond) => `${count} ${isOne ? "viewer" : "viewers"}, ${perSecond} reactions a second`,
  everybody: "Live reactions",
};

const HINDI = {
  events: "कार्यक्रम",
  scenes: "परदे के पीछे",
  theme: "हल्का या गहरा रंग",
  everybody: "लाइव प्रतिक्रियाएँ",
  reactions: "प्रतिक्रियाएँ",
  perSecond: "प्रति सेकंड",
  tapBelow: "नीचे कोई इमोजी दबाएँ",
  final: "कार्यक्रम समाप्त हो गया। ये अंतिम योग हैं।",
  another: "दूसरा कार्यक्रम चुनें",
  favourites: "सबके पसंदीदा",
  nobody: "अभी तक किसी ने प्रतिक्रिया नहीं दी।",
  send: "प्रतिक्रिया भेजें",
  choose: "कार्यक्रम चुनें",
  close: "बंद करें",
  connecting: "जुड़ रहा है …",
  live: "लाइव",
  watching: (count) => `लाइव, ${count} देख रहे हैं`,
  waiting: (_, seconds) => `कनेक्शन टूट गया; ${seconds} सेकंड में फिर`,
  ended: "कार्यक्रम समाप्त हो गया",
  stopped: "रुका हुआ",
  counted: (emoji, share, seconds) => `आपका ${emoji}: ${share}, ${seconds} सेकंड बाद दिखा`,
  one: (count) => `ठीक ${count} में से एक`,
  some: (own, count) => `ठीक ${count} में से ${own}`,
  endedWith: (count) => `कार्यक्रम ${count} प्रतिक्रियाओं के साथ समाप्त हुआ।`,
  summary: (count, seconds, most) => `पिछले ${seconds} सेकंड में ${count} प्रतिक्रियाएँ, सबसे अधिक ${most}।`,
  viewers: (count, _, perSecond) => `${count} दर्शक, ${perSecond} प्रतिक्रियाएँ प्रति सेकंड`,
};

const ARABIC = {
  events: "الأحداث",
  scenes: "خلف الكواليس",
  theme: "بدّل بين الفاتح والداكن",
  everybody: "تفاعلات مباشرة",
  reactions: "تفاعل",
  perSecond: "في الثانية",
  tapBelow: "اضغط رمزًا في الأسفل",
  final: "انتهى الحدث. هذه هي المجاميع النهائية.",
  another: "اختر حدثًا آخر",
  favourites: "المفضّل لدى الجميع",
  nobody: "لم يتفاعل أحد بعد.",
  send: "أرسل تفاعلًا",
  choose: "اختر حدثًا",
  close: "أغلق",
  connecting: "جارٍ الاتصال …",
  live: "مباشر",
  watching: (count) => `مباشر، ${count} يشاهدون`,
  waiting: (_, seconds) => `انقطع الاتصال؛ محاولة جديدة بعد ${seconds} ث`,
  ended: "انتهى الحدث",
  stopped: "متوقف",
  counted: (emoji, share, seconds) => `${emoji} منك: ${share}، ظهر بعد ${seconds} ث`,
  one: (count) => `واحد من ${count} بالضبط`,
  some: (own, count) => `${own} من ${count} بالضبط`,
  endedWith: (count) => `انتهى الحدث بعدد ${count} من التفاعلات.`,
  summary: (count, seconds, most) => `${count} تفاعلًا في آخر ${seconds} ثانية، أكثرها ${most}.`,
  viewers: (count, _, perSecond) => `${count} من المشاهدين، ${perSecond} تفاعلًا في الثانية`,
};

const LANGUAGES = { en: ENGLISH, hi: HINDI, ar: ARABIC };

/** The first of these languages that the page has, as its whole tag; English if it has none of them. */
export function languageOf(languages) {
  return languages.find((tag) => /^[a-z]{2}(-[a-z0-9]{2,8})*$/i.test(tag) && tag.slice(0, 2).toLowerCase() in LANGUAGES) ?? "en";
}

/** Say all of a page in this language, and return the texts that change. */
export function speak(page, lang) {
  const texts = LANGUAGES[lang.slice(0, 2).toLowerCase()];
  page.documentElement.lang = lang;
  page.documentElement.dir = texts === ARABIC ? "rtl" : "ltr";
  for (const element of page.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text] ?? element.textContent;
  for (const element of page.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", texts[element.dataset.label] ?? element.getAttribute("aria-label"));
  }
  return texts;
}

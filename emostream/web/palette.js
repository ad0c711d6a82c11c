/** The emoji buttons: a toolbar with one tab stop. The arrow keys move between the buttons. */

// How long a button shows the outcome of its last reaction.
const OUTCOME_SHOWN_MS = 900;

/**
 * Fill the toolbar with one button per emoji. The keys 1 to 9 press the first nine buttons.
 * @param {HTMLElement} toolbar
 * @param {string[]} emoji
 * @param {(emoji: string) => Promise<{outcome: string}>} send
 */
export function fillPalette(toolbar, emoji, send) {
  const buttons = emoji.map((each) => newButton(each, send));
  toolbar.replaceChildren(...buttons);
  moveTabStop(buttons, buttons[0]);
  toolbar.addEventListener("keydown", (event) => {
    const target = neighbour(toolbar, buttons, buttons.indexOf(document.activeElement), event.key);
    if (!target) return;
    event.preventDefault();
    moveTabStop(buttons, target);
    target.focus();
  });
  toolbar.addEventListener("focusin", ({ target }) => moveTabStop(buttons, target));
  document.addEventListener("keydown", (event) => {
    const isPlain = !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey;
    const isElsewhere = document.querySelector("dialog[open]") !== null;
    if (isPlain && !isElsewhere && /^[1-9]$/.test(event.key)) buttons[event.key - 1]?.click();
  });
}

function newButton(emoji, send) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = emoji;
  button.dataset.emoji = emoji;
  button.setAttribute("aria-label", `React with ${emoji}`);
  let fading = 0;
  button.addEventListener("click", async () => {
    clearTimeout(fading);
    button.dataset.outcome = "sending";
    restartAnimation(button);
    const { outcome } = await send(emoji);
    button.dataset.outcome = outcome;
    clearTimeout(fading);
    fading = setTimeout(() => delete button.dataset.outcome, OUTCOME_SHOWN_MS);
  });
  return button;
}

function restartAnimation(button) {
  for (const animation of button.getAnimations({ subtree: true })) {
    animation.cancel();
    animation.play();
  }
}

function moveTabStop(buttons, target) {
  for (const button of buttons) button.tabIndex = button === target ? 0 : -1;
}

function neighbour(toolbar, buttons, index, key) {
  if (index < 0) return null;
  const columns = getComputedStyle(toolbar).gridTemplateColumns.split(" ").length;
  const rightwards = getComputedStyle(toolbar).direction === "rtl" ? -1 : 1;
  const steps = { ArrowRight: rightwards, ArrowLeft: -rightwards, ArrowDown: columns, ArrowUp: -columns };
  if (key === "Home") return buttons[0];
  if (key === "End") return buttons[buttons.length - 1];
  return buttons[index + steps[key]] ?? null;
}

/** A dialog that asks a server for its content, again and again while it is open. */
export class LiveDialog {
  #dialog;
  #everyMs;
  #ask;
  #show;
  #openings = 0;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {number} everyMs
   * @param {() => Promise<object>} ask        rejects if the server does not answer
   * @param {(answer: object) => void} show
   */
  constructor(dialog, everyMs, ask, show) {
    this.#dialog = dialog;
    this.#everyMs = everyMs;
    this.#ask = ask;
    this.#show = show;
    if (!dialog.showModal) actAsModal(dialog);
  }

  open() {
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.#openings += 1;
    this.#poll(this.#openings);
  }

  close() {
    this.#dialog.close();
  }

  /** Ask again and again until this opening of the dialog is over. An answer that comes after that is dropped. */
  async #poll(opening) {
    const isOver = () => !this.#dialog.open || opening !== this.#openings;
    try {
      const answer = await this.#ask();
      if (isOver()) return;
      this.#show(answer);
      this.#dialog.dataset.stale = "no";
    } catch {
      if (isOver()) return;
      this.#dialog.dataset.stale = "yes";
    }
    setTimeout(() => {
      if (!isOver()) this.#poll(opening);
    }, this.#everyMs);
  }
}

/** Safari supports dialogs only since 15.4. For older versions, add what this page needs of a dialog. */
function actAsModal(dialog) {
  Object.defineProperty(dialog, "open", { get: () => dialog.hasAttribute("open") });
  dialog.setAttribute("role", "dialog");
  dialog.setAttribute("aria-modal", "true");
  dialog.showModal = () => {
    dialog.setAttribute("open", "");
    dialog.querySelector("button").focus();
  };
  dialog.close = () => {
    dialog.removeAttribute("open");
    dialog.dispatchEvent(new Event("close"));
  };
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && dialog.open) dialog.close();
  });
}

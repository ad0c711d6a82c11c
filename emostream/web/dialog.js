/** A dialog that asks a server for its content, again and again while it is open. */
export class LiveDialog {
  #dialog;
  #everyMs;
  #ask;
  #show;
  #timer = 0;

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
    dialog.addEventListener("close", () => clearTimeout(this.#timer));
  }

  open() {
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.#poll();
  }

  close() {
    this.#dialog.close();
  }

  async #poll() {
    try {
      this.#show(await this.#ask());
      this.#dialog.dataset.stale = "no";
    } catch {
      this.#dialog.dataset.stale = "yes";
    }
    if (this.#dialog.open) this.#timer = setTimeout(() => this.#poll(), this.#everyMs);
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

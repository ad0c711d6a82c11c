/** Kills processes of `make demo`, which has a server for it on this machine. No other service has one. */

export class Switch {
  #url;
  #parts = [];

  /** @param {?string} port of the demo's server, from the address of the page. Null where there is none */
  constructor(port) {
    this.#url = /^\d{1,5}$/.test(port ?? "") ? `http://${location.hostname}:${port}` : null;
  }

  /** Ask which processes there are. */
  async find() {
    if (!this.#url) return;
    this.#parts = await fetch(`${this.#url}/processes`).then(
      (response) => response.json(),
      () => [],
    );
  }

  /** The name of the process that a box stands for. Null if it cannot be killed from here. @returns {?string} */
  victimOf({ key, kind, process }) {
    if (kind === "log") return this.#named("kafka");
    if (key === "zookeeper") return this.#named("zookeeper");
    if (!process?.admin_url) return null;
    const port = Number(new URL(process.admin_url).port);
    return this.#parts.find(({ ports }) => ports.includes(port))?.name ?? null;
  }

  #named(tier) {
    return this.#parts.find((part) => part.tier === tier)?.name ?? null;
  }

  /** Kill a process. @returns {Promise<string>} what happened, in a sentence */
  async kill(name) {
    try {
      const response = await fetch(`${this.#url}/processes/${encodeURIComponent(name)}`, { method: "DELETE" });
      return (await response.json()).detail;
    } catch {
      return "The demo does not answer.";
    }
  }
}

/** What a page remembers. A browser may not let it, and then a choice lasts until the page is closed. */

const PREFIX = "emostream.";

/** The value of this name. Null if there is none. */
export function kept(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // There is no storage in a sandbox, or none is allowed.
  }
}

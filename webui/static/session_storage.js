// The session storage of the tab. Browsers may refuse it; then nothing is kept.

/** @param {string} name */
export function kept(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keep a text, or remove it with null; return false where there is no room, or no storage. @param {string} name @param {string | null} text */
export function keep(name, text) {
  try {
    if (text === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, text);
    return true;
  } catch {
    return false;
  }
}

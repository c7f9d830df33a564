// The document of an image in the session storage, so that a reloaded page and a duplicated tab go on from it.

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Doc} Doc */
/** @typedef {import("./state.js").Kept} Kept */

const NAME = "mobilesam-document";
const VERSION = 1;
const UNDO_KEPT = 50;

/** Keep the document of a state. @param {State} state */
export function keepDocument({ image, doc, past, future, label }) {
  if (!image) return;
  /** @type {Kept[]} */
  const objects = [];
  const places = new Map();
  const place = (/** @type {Kept} */ object) => {
    if (!places.has(object)) places.set(object, objects.push(object) - 1);
    return places.get(object);
  };
  const flat = (/** @type {Doc} */ each) => ({ ...each, objects: each.objects.map(place) });
  const text = (/** @type {number} */ undo) => JSON.stringify({
    version: VERSION, key: image.key, label, doc: flat(doc),
    past: undo ? past.slice(-undo).map(flat) : [], future: undo ? future.slice(-undo).map(flat) : [], objects,
  });
  for (const undo of [UNDO_KEPT, 0]) {
    try {
      objects.length = 0;
      places.clear();
      sessionStorage.setItem(NAME, text(undo));
      return;
    } catch {
      sessionStorage.removeItem(NAME); // no room: without undo, else not at all
    }
  }
}

/** Return the document that was kept for an image, or null. @param {string} key @returns {Pick<State, "doc" | "past" | "future" | "label"> | null} */
export function keptDocument(key) {
  try {
    const { version, key: of, label, doc, past, future, objects } = JSON.parse(sessionStorage.getItem(NAME) ?? "");
    if (version !== VERSION || of !== key) return null;
    const whole = (/** @type {any} */ each) => ({ ...each, objects: each.objects.map((/** @type {number} */ place) => objects[place]) });
    return { label, doc: whole(doc), past: past.map(whole), future: future.map(whole) };
  } catch {
    return null; // nothing there, or another version's
  }
}

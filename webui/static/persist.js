// The documents of the last images in the session storage, so that a reloaded page, a duplicated tab, and an image that is
// opened again go on from them.

import { keep, kept } from "./session_storage.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Doc} Doc */
/** @typedef {import("./state.js").Kept} Kept */

const NAME = "mobilesam-document-"; // and the key of the image
const INDEX = "mobilesam-documents"; // the keys, the newest first
const VERSION = 2;
const MOST_IMAGES = 8;
const UNDO_KEPT = 50;

/** Keep the document of a state; return false if the browser has no room for it. @param {State} state */
export function keepDocument({ image, doc, past, future, label }) {
  if (!image) return true;
  const keys = [image.key, ...keptKeys().filter((key) => key !== image.key)];
  for (const key of keys.splice(MOST_IMAGES)) keep(NAME + key, null);
  for (const undo of [UNDO_KEPT, 0]) {
    if (keep(NAME + image.key, textOf({ doc, past, future, label }, undo)) && keep(INDEX, JSON.stringify(keys))) return true;
    keep(NAME + image.key, null);
  }
  return false;
}

/** @param {Pick<State, "doc" | "past" | "future" | "label">} state @param {number} undo the steps that are kept */
function textOf({ doc, past, future, label }, undo) {
  /** @type {Kept[]} */
  const objects = []; // each is written once, however many steps have it
  const places = new Map();
  const place = (/** @type {Kept} */ object) => {
    if (!places.has(object)) places.set(object, objects.push(object) - 1);
    return places.get(object);
  };
  const flat = (/** @type {Doc} */ each) => ({ ...each, objects: each.objects.map(place) });
  const steps = (/** @type {Doc[]} */ docs) => (undo ? docs.slice(-undo).map(flat) : []);
  return JSON.stringify({ version: VERSION, label, doc: flat(doc), past: steps(past), future: steps(future), objects });
}

/** @returns {string[]} */
function keptKeys() {
  try {
    const keys = JSON.parse(kept(INDEX) ?? "[]");
    return Array.isArray(keys) ? keys.map(String) : [];
  } catch {
    return [];
  }
}

/** Return the document that was kept for an image, or null. @param {string} key @returns {Pick<State, "doc" | "past" | "future" | "label"> | null} */
export function keptDocument(key) {
  try {
    const { version, label, doc, past, future, objects } = JSON.parse(kept(NAME + key) ?? "");
    if (version !== VERSION) return null;
    const whole = (/** @type {any} */ each) => ({ ...each, objects: each.objects.map((/** @type {number} */ place) => objects[place]) });
    return { label, doc: whole(doc), past: past.map(whole), future: future.map(whole) };
  } catch {
    return null; // nothing there, or another version's
  }
}

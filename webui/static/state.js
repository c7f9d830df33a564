// The state of the page, and the transitions from one state to the next: pure functions that return a new state.

import { runEnds, sizeOf } from "./masks.js";
import { NOTHING, hasObject, isMarked } from "./prompt.js";

/**
 * @typedef {import("./engine.js").ShownImage} ShownImage
 * @typedef {import("./engine.js").Settings} Settings
 * @typedef {import("./engine.js").Prediction} Prediction
 * @typedef {import("./engine.js").Frozen} Frozen
 * @typedef {import("./engine.js").Run} Run
 * @typedef {import("./engine.js").Color} Color
 * @typedef {import("./prompt.js").Prompt} Prompt
 * @typedef {import("./viewport.js").Place} Place
 * @typedef {import("./viewport.js").Viewport} Viewport
 *
 * @typedef {object} Kept an object of the list
 * @property {number} id
 * @property {string} label
 * @property {Color} color
 * @property {Frozen} mask
 * @property {Prompt | null} prompt null for a segment of everything mode
 *
 * @typedef {object} Doc what undo and redo cover
 * @property {Prompt} prompt of the object that is being marked
 * @property {Kept[]} objects
 * @property {number | null} editing the id of the object whose prompt this is
 *
 * @typedef {object} Decoded the masks of a prompt
 * @property {Prompt} prompt without a choice
 * @property {boolean} clean
 * @property {string} model
 * @property {Prediction} prediction
 *
 * @typedef {object} State
 * @property {"starting" | "empty" | "uploading" | "encoding" | "ready"} phase
 * @property {string} status a text over the image
 * @property {{ text: string, kind: "error" | "note" } | null} message
 * @property {Settings} settings
 * @property {string} model
 * @property {ShownImage | null} image
 * @property {ImageBitmap | null} bitmap of the whole image
 * @property {{ area: import("./engine.js").Area, bitmap: ImageBitmap } | null} crop part of the image in full resolution
 * @property {Doc} doc
 * @property {number | null} share of the work named in `status` that is done, 0 to 1, or null
 * @property {Doc[]} past
 * @property {Doc[]} future
 * @property {Decoded | null} decoded
 * @property {boolean} decoding whether a prediction is on its way
 * @property {string | null} preview the mask under the pointer
 * @property {Run | null} run
 * @property {{ share: number, text: string } | null} progress of a run
 * @property {number[]} selected segments
 * @property {number | null} pointed the segment under the pointer or with the focus
 * @property {number | null} pointedObject likewise an object
 * @property {string} mode of everything mode
 * @property {"area" | "predicted_iou"} sort
 * @property {"foreground" | "background" | "box"} tool
 * @property {"prompt" | "everything"} tab
 * @property {"overlay" | "outline" | "mask" | "cutout"} look
 * @property {number} opacity 0 to 1
 * @property {boolean} clean
 * @property {Viewport} viewport
 * @property {Place | null} crosshair
 * @property {Place | null} corner of a box that was started with the keyboard
 * @property {string} label the last one
 * @property {Record<string, number>} times of steps, milliseconds
 * @property {"tab" | "server"} place where the last mask was decoded
 */

const MOST_UNDO = 200;
const GOLDEN = 137.50776; // degrees, which spaces any number of hues evenly

/** @type {Doc} */
export const EMPTY_DOC = { prompt: NOTHING, objects: [], editing: null };

/** @type {State} */
export const INITIAL = {
  phase: "starting", status: "", share: null, message: null,
  settings: { models: {}, modes: [], samples: [], max_upload_mb: Infinity, model: "", image: null },
  model: "", image: null, bitmap: null, crop: null,
  doc: EMPTY_DOC, past: [], future: [],
  decoded: null, decoding: false, preview: null,
  run: null, progress: null, selected: [], pointed: null, pointedObject: null, mode: "", sort: "area",
  tool: "foreground", tab: "prompt", look: "overlay", opacity: 0.5, clean: false,
  viewport: null, crosshair: null, corner: null, label: "", times: {}, place: "server",
};

// What is derived from a state -----------------------------------------------------------------------------------------

/** Whether the masks are those of the current prompt. @param {State} state */
export function isDecoded({ doc, decoded, clean, model }) {
  return decoded !== null && sameMarks(decoded.prompt, doc.prompt) && decoded.clean === clean && decoded.model === model;
}

/** Whether two prompts have the same marks, whatever mask is chosen. @param {Prompt} one @param {Prompt} other */
function sameMarks(one, other) {
  return one.points === other.points && one.box === other.box && one.steps === other.steps;
}

/** Whether the masks of the current prompt are missing. @param {State} state */
export function needsMasks(state) {
  return state.image !== null && state.phase === "ready" && hasObject(state.doc.prompt) && !isDecoded(state);
}

/** Whether the masks of the current prompt could not be decoded. @param {State} state */
export function hasFailed(state) {
  return hasObject(state.doc.prompt) && isDecoded(state) && !maskOf(state);
}

/**
 * Return the candidate masks as the page lists them, from the smallest to the largest.
 * While a prompt waits for its masks, those of the prompt before are shown.
 * @param {State} state
 */
export function candidatesOf(state) {
  const { decoded, doc } = state;
  if (!decoded || !hasObject(doc.prompt)) return [];
  const { masks, best } = decoded.prediction;
  const chosen = doc.prompt.chosen === null ? best : masks.findIndex((mask) => mask.index === doc.prompt.chosen);
  const names = masks.length === 3 ? ["Part", "Whole", "Larger"] : masks.map(() => "Mask");
  return orderOf(decoded.prediction).map((position, place) => ({
    mask: masks[position], name: names[place], suggested: position === best, chosen: position === (chosen < 0 ? best : chosen),
  }));
}

/** @type {WeakMap<Prediction, number[]>} the positions of a prediction's masks, from the smallest to the largest */
const orders = new WeakMap();

/** @param {Prediction} prediction */
function orderOf(prediction) {
  let order = orders.get(prediction);
  if (!order) {
    const sizes = prediction.masks.map(({ rle }) => sizeOf(runEnds(rle)));
    orders.set(prediction, (order = sizes.map((_, position) => position).sort((a, b) => sizes[a] - sizes[b])));
  }
  return order;
}

/** Return the mask in use of the current prompt, or null. @param {State} state */
export function maskOf(state) {
  return candidatesOf(state).find(({ chosen }) => chosen)?.mask ?? null;
}

/** Return the color of the object that is being marked. @param {State} state @returns {Color} */
export function colorOf({ doc }) {
  const edited = doc.objects.find(({ id }) => id === doc.editing);
  return edited ? edited.color : colorOfId(nextId(doc));
}

/** @param {Doc} doc */
function nextId({ objects }) {
  return 1 + Math.max(0, ...objects.map(({ id }) => id));
}

/** Return a color that differs from those of other numbers; the first is blue. @param {number} id @returns {Color} */
export function colorOfId(id) {
  const hue = (216 + GOLDEN * (id - 1)) % 360;
  const lightness = [0.59, 0.48, 0.7][Math.floor((id - 1) / 8) % 3];
  const chroma = (1 - Math.abs(2 * lightness - 1)) * 0.95;
  const channel = (/** @type {number} */ shift) => {
    const k = (shift + hue / 30) % 12;
    return Math.round(255 * (lightness - (chroma / 2) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** Return the labels in use, the newest first. @param {State} state */
export function labelsOf({ doc, label }) {
  const labels = [label, ...doc.objects.map((object) => object.label).reverse()];
  return [...new Set(labels.filter((each) => each !== ""))];
}

/** Return the segments' indices in the order of the list. @param {State} state */
export function segmentOrder({ run, sort }) {
  if (!run) return [];
  return run.segments.map((_, index) => index).sort((a, b) => run.segments[b][sort] - run.segments[a][sort] || a - b);
}

// Transitions ----------------------------------------------------------------------------------------------------------

/** @param {State} state @param {string} text @param {"error" | "note"} [kind] @returns {State} */
export function say(state, text, kind = "error") {
  return { ...state, message: text ? { text, kind } : null };
}

/** Change the document, which can be undone. @param {State} state @param {Partial<Doc>} changes @returns {State} */
export function change(state, changes) {
  const past = [...state.past, state.doc].slice(-MOST_UNDO);
  return { ...moved(state, { ...state.doc, ...changes }), past, future: [] };
}

/** Show another document. The masks stay until there are new ones if it goes on with the same object. @param {State} state @param {Doc} doc @returns {State} */
function moved(state, doc) {
  const [before, after] = [state.doc.prompt, doc.prompt];
  const same = state.doc.editing === doc.editing && isMarked(before) && isMarked(after) && before.points[0] === after.points[0];
  return { ...state, doc, decoded: same ? state.decoded : null, preview: null, corner: null };
}

/** @param {State} state @returns {State} */
export function undo(state) {
  const doc = state.past.at(-1);
  if (!doc) return state;
  return { ...moved(state, doc), past: state.past.slice(0, -1), future: [...state.future, state.doc] };
}

/** @param {State} state @returns {State} */
export function redo(state) {
  const doc = state.future.at(-1);
  if (!doc) return state;
  return { ...moved(state, doc), past: [...state.past, state.doc], future: state.future.slice(0, -1) };
}

/** Choose a mask by the decoder's own index. @param {State} state @param {number} index @returns {State} */
export function choose(state, index) {
  if (state.doc.prompt.chosen === index) return state;
  return { ...state, doc: { ...state.doc, prompt: { ...state.doc.prompt, chosen: index } }, future: [] };
}

/** Remove the prompt; an object that is being edited stays as it was. @param {State} state @returns {State} */
export function clear(state) {
  if (!isMarked(state.doc.prompt) && state.doc.editing === null) return state;
  return change(state, { prompt: NOTHING, editing: null });
}

/** Keep a mask as an object, in the place of the one that is being edited. @param {State} state @param {Frozen} mask @param {string} label @returns {State} */
export function keep(state, mask, label) {
  const { doc } = state;
  const { editing } = doc;
  const id = editing ?? nextId(doc);
  const object = { id, label, color: colorOf(state), mask, prompt: doc.prompt };
  const objects = editing === null ? [...doc.objects, object] : doc.objects.map((each) => (each.id === id ? object : each));
  return { ...change(state, { prompt: NOTHING, objects, editing: null }), label: label || state.label };
}

/** Keep segments of everything mode, by their indices, as objects. @param {State} state @param {number[]} indices @param {Frozen[]} masks @param {string} label @returns {State} */
export function keepSegments(state, indices, masks, label) {
  const first = nextId(state.doc);
  const added = masks.map((mask, index) => ({ id: first + index, label, color: colorOfId(first + index), mask, prompt: null }));
  const selected = state.selected.filter((index) => !indices.includes(index));
  return { ...change(state, { objects: [...state.doc.objects, ...added] }), selected, label: label || state.label };
}

/** Edit an object: its prompt comes back. @param {State} state @param {number} id @returns {State} */
export function edit(state, id) {
  const object = state.doc.objects.find((each) => each.id === id);
  if (!object?.prompt || state.doc.editing === id) return state;
  return { ...change(state, { prompt: object.prompt, editing: id }), tab: "prompt" };
}

/** @param {State} state @param {number} id @returns {State} */
export function remove(state, id) {
  const { doc } = state;
  const edited = doc.editing === id ? { prompt: NOTHING, editing: null } : {};
  return { ...change(state, { ...edited, objects: doc.objects.filter((each) => each.id !== id) }), pointedObject: null };
}

/** @param {State} state @param {number} id @param {string} label @returns {State} */
export function rename(state, id, label) {
  const objects = state.doc.objects.map((each) => (each.id === id ? { ...each, label } : each));
  return { ...change(state, { objects }), label: label || state.label };
}

/** Show another image; the document of the earlier one is dropped. @param {State} state @param {ShownImage} image @param {ImageBitmap} bitmap @returns {State} */
export function show(state, image, bitmap) {
  const same = state.image?.key === image.key ? {} : { doc: EMPTY_DOC, past: [], future: [], decoded: null, times: {} };
  return {
    ...state, ...same, image, bitmap, crop: null, preview: null, run: null, progress: null, selected: [], pointed: null,
    pointedObject: null, viewport: null, crosshair: null, corner: null,
  };
}

/** Show no image: it is no longer there. @param {State} state @returns {State} */
export function close(state) {
  const { image, bitmap, crop, doc, past, future, decoded, run, selected, viewport } = INITIAL;
  return { ...state, image, bitmap, crop, doc, past, future, decoded, run, selected, viewport, phase: "empty" };
}

/** Select a segment, or unselect it; null unselects all. @param {State} state @param {number | null} index @returns {State} */
export function select(state, index) {
  if (index === null) return { ...state, selected: [] };
  const rest = state.selected.filter((each) => each !== index);
  return { ...state, selected: rest.length < state.selected.length ? rest : [...rest, index] };
}

// Keys: the crosshair on the canvas, and shortcuts of the whole page.

import { nearestPixel, showing } from "./viewport.js";

/** @typedef {import("./page.js").Page} Page */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR = 10; // times as far with Shift
const ZOOM = 1.5; // of a key

/** Handle the keys of a page. @param {Page} page */
export function listenToKeys(page) {
  page.painter.canvas.addEventListener("keydown", (event) => pressOnCanvas(page, event));
  for (const kind of ["focus", "blur"]) page.painter.canvas.addEventListener(kind, () => page.painter.invalidate());
  document.addEventListener("keydown", (event) => press(page, event));
  document.addEventListener("keyup", (event) => { if (event.key === " ") page.pointer.space = false; });
  window.addEventListener("blur", () => { page.pointer.space = false; });
}

/** @param {Page} page @param {KeyboardEvent} event */
function pressOnCanvas(page, event) {
  const { state } = page.store;
  if (!state.image || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key in ARROWS) move(page, ARROWS[event.key], event.shiftKey);
  else if (event.key === "Enter" && state.corner && state.crosshair) finishBox(page);
  else if (event.key === "Enter") page.point(state.crosshair ?? middle(page), event.shiftKey ? 0 : 1);
  else if (event.key.toLowerCase() === "b" && state.corner) finishBox(page);
  else if (event.key.toLowerCase() === "b" && state.tab === "prompt") page.store.set({ crosshair: state.crosshair ?? middle(page), corner: state.crosshair ?? middle(page) });
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** The pixel in the middle of the view. @param {Page} page */
function middle(page) {
  const { fit, view } = page.painter;
  return fit ? nearestPixel(fit, { x: view.width / 2, y: view.height / 2 }) : { x: 0, y: 0 };
}

/** Move the crosshair by a pixel of the image, or by one of the screen where the image is shown smaller. @param {Page} page @param {[number, number]} direction @param {boolean} far */
function move(page, [dx, dy], far) {
  const { state } = page.store;
  const { fit, view } = page.painter;
  if (!fit || !state.image) return;
  const step = Math.max(1, Math.round(1 / fit.scale)) * (far ? FAR : 1);
  const from = state.crosshair ?? middle(page);
  const clamp = (/** @type {number} */ value, /** @type {number} */ size) => Math.min(Math.max(value, 0), size - 1);
  const crosshair = state.crosshair ? { x: clamp(from.x + dx * step, fit.width), y: clamp(from.y + dy * step, fit.height) } : from;
  page.store.set({ crosshair });
  page.view.show(showing(view, state.image, state.viewport, crosshair));
  if (page.isEverything) page.preview.hover(crosshair);
}

/** @param {Page} page */
function finishBox(page) {
  const { corner, crosshair } = page.store.state;
  if (!corner || !crosshair) return;
  page.store.set({ corner: null });
  page.marking.box(corner, crosshair);
}

/** @param {Page} page @param {KeyboardEvent} event */
function press(page, event) {
  const target = /** @type {Element} */ (event.target);
  if (event.defaultPrevented || event.altKey || /** @type {HTMLDialogElement} */ (page.part("keys")).open) return;
  if (target.matches("input:not([type=range]):not([type=checkbox]), textarea, select")) return;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key !== "z" && key !== "y") return;
  if (key === " ") {
    if (target.closest("button, summary, a, input")) return;
    page.pointer.space = true;
  } else if (key === "z") {
    if (event.shiftKey) page.marking.redo();
    else page.marking.undo();
  } else if (key === "y") page.marking.redo();
  else if (key === "escape") page.escape();
  else if (["1", "2", "3"].includes(key)) page.marking.chooseAt(Number(key) - 1);
  else if (key === "k") page.keep();
  else if (key === "delete" || key === "backspace") page.marking.removeCurrent();
  else if (key === "+" || key === "=") page.view.zoom(ZOOM);
  else if (key === "-") page.view.zoom(1 / ZOOM);
  else if (key === "0") page.view.show(null);
  else if (key === "?") page.openKeys();
  else return;
  event.preventDefault();
}

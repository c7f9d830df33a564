// Buttons, fields, and files that are chosen, dropped or pasted.

import { rove } from "./dom.js";

/** @typedef {import("./page.js").Page} Page */

/** Connect the controls of a page. @param {Page} page */
export function listenToControls(page) {
  const { root, store } = page;
  const canvas = page.painter.canvas;
  /** @type {Record<string, () => void>} */
  const commands = {
    browse: () => page.part("file").click(),
    undo: () => page.marking.undo(),
    redo: () => page.marking.redo(),
    clear: () => page.marking.clear(),
    keep: () => page.keep(),
    dismiss: () => { page.say(""); canvas.focus(); },
    retry: () => page.marking.retry(),
    everything: () => (store.state.progress ? page.segmenting.stop() : page.segmenting.run()),
    unselect: () => store.set({ selected: [] }),
    keys: () => page.openKeys(),
    "zoom-in": () => page.view.zoom(1.5),
    "zoom-out": () => page.view.zoom(1 / 1.5),
    "actual-size": () => page.view.showActualSize(),
    fit: () => page.view.show(null),
  };
  root.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("button"));
    if (!button) return;
    const { do: command, tool, tab, look, save, mode, sample, candidate, segment, edit, remove } = button.dataset;
    if (command) commands[command]();
    else if (save) page.save(save);
    else if (sample) page.images.openSample(sample);
    else if (candidate) page.marking.chooseAt(Number(candidate));
    else if (segment) page.segmenting.select(Number(segment));
    else if (edit) page.marking.edit(Number(edit));
    else if (remove) page.marking.remove(Number(remove));
    else if (tool || tab || look || mode) store.set(/** @type {any} */ ({ ...(tool && { tool }), ...(tab && { tab, preview: null, corner: null }), ...(look && { look }), ...(mode && { mode }) }));
    if (event.detail > 0 && (tool || look || candidate)) canvas.focus({ preventScroll: true }); // so that Space moves the image
  });
  for (const [group, selector] of [["tools", "[data-tool]"], ["tabs", "[data-tab]"], ["modes", "[data-mode]"], ["looks", "[data-look]"], ["candidates", "[data-candidate]"]]) {
    rove(page.part(group), selector, (button) => button.click());
  }
  rove(page.part("segments"), "[data-segment]");
  rove(page.part("objects"), "[data-edit]");
  listenToLists(page);

  const file = /** @type {HTMLInputElement} */ (page.part("file"));
  file.addEventListener("change", () => {
    const chosen = file.files?.[0];
    file.value = "";
    if (chosen) page.images.open(chosen);
  });
  const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (page.part(name));
  field("opacity").addEventListener("input", () => store.set({ opacity: Number(field("opacity").value) / 100 }));
  field("clean").addEventListener("change", () => store.set({ clean: field("clean").checked, preview: null }));
  field("model").addEventListener("change", () => page.images.useModel(field("model").value));
  field("sort").addEventListener("change", () => store.set({ sort: field("sort").value === "area" ? "area" : "predicted_iou" }));
  listenForFiles(page);
}

/** Highlight the segment or object whose row has the pointer or the focus; write labels. @param {Page} page */
function listenToLists(page) {
  const { store } = page;
  const segments = page.part("segments");
  const objects = page.part("objects");
  const idIn = (/** @type {Event} */ event, /** @type {string} */ name) => {
    const row = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(`[data-${name}]`));
    return row ? Number(row.dataset[name]) : null;
  };
  for (const kind of ["pointerover", "focusin"]) {
    segments.addEventListener(kind, (event) => store.set({ pointed: idIn(event, "segment") }));
    objects.addEventListener(kind, (event) => store.set({ pointedObject: idIn(event, "object") }));
  }
  for (const kind of ["pointerleave", "focusout"]) {
    segments.addEventListener(kind, () => store.set({ pointed: null }));
    objects.addEventListener(kind, () => store.set({ pointedObject: null }));
  }
  objects.addEventListener("change", (event) => {
    const id = idIn(event, "object");
    if (id !== null) page.marking.rename(id, /** @type {HTMLInputElement} */ (event.target).value);
  });
  objects.addEventListener("keydown", (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    if (event.isComposing || !input.matches("input") || (event.key !== "Enter" && event.key !== "Escape")) return;
    if (event.key === "Escape") input.value = input.dataset.label ?? "";
    page.painter.canvas.focus();
    event.preventDefault();
    event.stopPropagation();
  });
}

/** @param {Page} page */
function listenForFiles(page) {
  const open = (/** @type {DataTransfer | null} */ transfer) => {
    const file = transfer?.files[0];
    if (file) page.images.open(file);
  };
  let depth = 0;
  const over = (/** @type {number} */ change) => {
    depth = Math.max(0, depth + change);
    page.root.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    open(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => {
    const { target } = event;
    if (target instanceof Element && target.matches("input, textarea")) return; // a label may come with an image
    open(event.clipboardData);
  });
}

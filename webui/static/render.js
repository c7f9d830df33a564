// Shows a state in the page's elements: one function a part. The canvas is painted by painter.js.

import { element, setAttribute, setRoving, setText, syncList } from "./dom.js";
import { hasObject, isMarked } from "./prompt.js";
import { layerOf, layerOfKept, layersOfRun } from "./scene.js";
import { candidatesOf, colorOf, hasFailed, isDecoded, labelsOf, maskOf, segmentOrder } from "./state.js";
import { drawSoon } from "./thumbnails.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./state.js").State} State */

const MOST_ROWS = 200;
const EMPTY = "Click the object in the image. Its candidate masks appear here; the one most likely meant is chosen.";
const BACKGROUND = "This marks the background. Now click the object with the tool Object, or drag a box around it.";
const REFINED = "This mask refines the one that you chose.";
const CONFIDENCE = "Confidence: the IoU to expect with the object that you mean, from 0 to 1";
/** @type {Record<string, [string, string]>} the label and the description of each mode of everything mode */
const MODES = {
  exact: ["Exact", "Prompts with 32 x 32 points, as SAM does"],
  balanced: ["Balanced", "Skips points that a good mask covers already"],
  fast: ["Fast", "Prompts with few points; may miss small objects"],
};
const HINT = "Click a segment to select it, then keep or save it.";

/** Show a state. @param {Page} page @param {State} state */
export function render(page, state) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const row = focused?.closest("[data-object]");
  const place = row ? [.../** @type {Element} */ (row.parentElement).children].indexOf(row) : -1;
  renderRoot(page, state);
  renderHeader(page, state);
  renderStage(page, state);
  renderTools(page, state);
  renderCandidates(page, state);
  renderObjects(page, state);
  renderRun(page, state);
  renderSegments(page, state);
  renderView(page, state);
  renderSave(page, state);
  setText(page.part("live"), spoken(state));
  const at = state.crosshair;
  setText(page.part("place"), at ? `${at.x}, ${at.y}` : "");
  if (focused && focused !== document.body && !focused.closest("dialog") && (!focused.isConnected || !focused.offsetParent)) keepFocus(page, place);
}

/** Move the focus, whose element is no longer shown, to the next row of the objects, or to the canvas. @param {Page} page @param {number} place of the row that had it */
function keepFocus(page, place) {
  const rows = page.part("objects").children;
  const next = place < 0 ? null : rows[Math.min(place, rows.length - 1)];
  (/** @type {HTMLElement | null} */ (next?.querySelector("[data-edit]")) ?? page.painter.canvas).focus();
}

/** @param {Page} page @param {State} state */
function renderRoot({ root }, state) {
  for (const [name, value] of Object.entries({ state: state.phase, tab: state.tab, tool: state.tool, look: state.look })) {
    if (root.dataset[name] !== value) root.dataset[name] = value;
  }
  root.dataset.runs = state.settings.runs ?? "server";
  root.dataset.decoding = String(state.decoding);
  root.dataset.zoomed = String(state.viewport !== null);
  if (state.image) root.style.setProperty("--ratio", String(state.image.width / state.image.height));
}

/** @param {Page} page @param {State} state */
function renderHeader(page, { settings, model, times, phase, place }) {
  const { models } = settings;
  const select = /** @type {HTMLSelectElement} */ (page.part("model"));
  const names = Object.keys(models);
  if ([...select.options].map(({ value }) => value).join() !== names.join()) select.replaceChildren(...names.map((name) => new Option(models[name], name)));
  if (select.value !== model) select.value = model;
  select.disabled = phase === "uploading" || phase === "encoding";
  page.part("model-label").hidden = names.length < 2;
  const steps = { encode: "encoded in", decode: "mask in", everything: "segments in" };
  const known = Object.entries(steps).filter(([name]) => times[name] !== undefined);
  const where = settings.runs === "tab" ? "" : place === "tab" ? " in this tab" : " on the server";
  setText(page.part("timing"), known.map(([name, text]) => `${text} ${seconds(times[name])}${name === "decode" ? where : ""}`).join("  ·  "));
  const script = page.part("script");
  if (!script.textContent) setText(script, scriptOf(location.origin));
}

/** Return a time as text. @param {number} ms */
export function seconds(ms) {
  const digits = ms >= 9950 ? 0 : ms >= 995 ? 1 : 2;
  return `${(ms / 1000).toFixed(digits)} s`;
}

/** @param {string} origin */
function scriptOf(origin) {
  return [
    "from gradio_client import Client, handle_file",
    "",
    `client = Client("${origin}")`,
    'image = client.predict(handle_file("photo.jpg"), api_name="/encode")',
    'masks = client.predict(image["session"], [[200, 120, 1]], api_name="/predict")',
  ].join("\n");
}

/** @param {Page} page @param {State} state */
function renderStage(page, state) {
  const { message, image, doc, phase } = state;
  const waits = phase === "ready" && state.tab === "prompt" && isMarked(doc.prompt) && !hasObject(doc.prompt);
  const status = page.part("status");
  setText(status, state.status || (waits ? "Now mark the object" : ""));
  setAttribute(status, "data-share", state.share === null ? null : String(state.share));
  status.style.setProperty("--share", String(state.share ?? 0));
  const box = page.part("message");
  box.hidden = !message;
  if (message) {
    setText(page.part("message-text"), message.text);
    setAttribute(box, "data-kind", message.kind);
    setAttribute(/** @type {Element} */ (box.querySelector('[data-do="retry"]')), "hidden", !hasFailed(state));
  }
  page.part("zoom").hidden = !image;
  const { fit } = page.painter;
  if (fit) setText(page.part("percent"), `${Math.round(100 * fit.scale)} %`);
  setAttribute(page.painter.canvas, "aria-label", image ? `Image ${image.name}, ${image.width} by ${image.height} pixels` : "Image");
  syncList(page.part("samples"), state.settings.samples, (file) => file, (file) => {
    const title = titleOf(file);
    const photo = element("img", { src: page.engine.sample(file), alt: "", loading: "lazy" });
    return element("button", { type: "button", "data-sample": file, "aria-label": `Open the sample photo: ${title}`, title }, photo);
  }, () => {});
}

/** Return the name of a file as a title. @param {string} file */
function titleOf(file) {
  const stem = file.replace(/\.[^.]*$/, "");
  return stem.charAt(0).toUpperCase() + stem.slice(1);
}

/** @param {Page} page @param {State} state */
function renderTools(page, state) {
  const { doc, past, future, tab, image, selected } = state;
  const { root } = page;
  checkOne(page.part("tools"), "tool", state.tool);
  checkOne(page.part("tabs"), "tab", tab, "aria-selected");
  const enable = (/** @type {string} */ name, /** @type {boolean} */ possible) => {
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (root.querySelectorAll(`[data-do="${name}"]`))) disable(page, button, !possible);
  };
  enable("undo", past.length > 0);
  enable("redo", future.length > 0);
  enable("clear", isMarked(doc.prompt));
  enable("keep", tab === "prompt" ? image !== null && hasObject(doc.prompt) : selected.length > 0);
  const keep = /** @type {HTMLElement} */ (root.querySelector('[data-do="keep"]'));
  setText(keep, tab === "everything" ? (selected.length > 1 ? `Keep ${selected.length}` : "Keep") : doc.editing === null ? "Keep" : "Done");
}

/** Disable a button; the focus that it had goes to the canvas, not to the top of the page. @param {Page} page @param {HTMLButtonElement} button @param {boolean} disabled */
function disable(page, button, disabled) {
  if (button.disabled === disabled) return;
  if (disabled && document.activeElement === button) page.painter.canvas.focus();
  button.disabled = disabled;
}

/** Mark the button of a group that has a value. @param {HTMLElement} group @param {string} name @param {string} value @param {string} [attribute] */
function checkOne(group, name, value, attribute = "aria-checked") {
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (group.querySelectorAll(`[data-${name}]`))) {
    setAttribute(button, attribute, String(button.dataset[name] === value));
  }
  setRoving(group, `[data-${name}]`, (button) => button.dataset[name] === value);
}

/** @param {Page} page @param {State} state */
function renderCandidates(page, state) {
  const { doc, image, bitmap } = state;
  const candidates = image ? candidatesOf(state) : [];
  const container = page.part("candidates");
  container.hidden = !candidates.length;
  const items = candidates.map((candidate, place) => ({ ...candidate, place }));
  syncList(container, items, ({ place }) => `${place}`, ({ place }) => {
    const button = element("button", { type: "button", role: "radio", "data-candidate": `${place}` });
    button.append(element("canvas", { "aria-hidden": "true" }), element("b"), element("span"));
    return button;
  }, (button, { mask, name, suggested, chosen, place }) => {
    const [canvas, title, number] = /** @type {[HTMLCanvasElement, HTMLElement, HTMLElement]} */ (/** @type {unknown} */ (button.children));
    const score = Math.min(1, mask.confidence ?? mask.predicted_iou).toFixed(2);
    const word = mask.confidence === null ? "predicted IoU" : "confidence";
    setText(title, name);
    setText(number, score);
    setAttribute(number, "title", mask.confidence === null ? "Predicted IoU, from 0 to 1" : CONFIDENCE);
    setAttribute(button, "aria-checked", String(chosen));
    setAttribute(button, "data-suggested", suggested && candidates.length > 1);
    setAttribute(button, "aria-label", `${name}, ${word} ${score}${suggested && candidates.length > 1 ? ", suggested" : ""}`);
    setAttribute(button, "title", `${name} (${place + 1})`);
    if (image && bitmap) drawSoon(canvas, layerOf(mask.rle, image.shown, colorOf(state)), bitmap);
  });
  setRoving(container, "[data-candidate]", (button) => button.getAttribute("aria-checked") === "true");
  const waits = isMarked(doc.prompt) && !hasObject(doc.prompt);
  const refines = candidates.length > 0 && doc.prompt.steps.length > 0;
  const hint = page.part("mask-hint");
  setText(hint, waits ? BACKGROUND : refines ? REFINED : EMPTY);
  hint.hidden = candidates.length > 0 && !refines;
}

/** @param {Page} page @param {State} state */
function renderObjects(page, state) {
  const { doc, image, bitmap } = state;
  const list = page.part("objects");
  list.hidden = !doc.objects.length;
  page.part("objects-hint").hidden = doc.objects.length > 0;
  setText(page.part("objects-title"), doc.objects.length ? `Objects (${doc.objects.length})` : "Objects");
  syncList(list, doc.objects, ({ id }) => `${id}`, ({ id }) => {
    const edit = element("button", { type: "button", class: "object", "data-edit": `${id}` }, element("canvas", { "aria-hidden": "true" }));
    const label = element("input", { type: "text", list: "mobilesam-labels", placeholder: "label", autocomplete: "off", spellcheck: "false" });
    const remove = element("button", { type: "button", class: "close", "data-remove": `${id}`, tabindex: "-1" }, "✕");
    return element("li", { "data-object": `${id}` }, edit, label, remove);
  }, (row, object) => {
    const [edit, label, remove] = /** @type {[HTMLElement, HTMLInputElement, HTMLElement]} */ (/** @type {unknown} */ (row.children));
    const name = object.label || `object ${object.id}`;
    setAttribute(row, "data-editing", object.id === doc.editing);
    setAttribute(row, "data-pointed", object.id === state.pointedObject);
    row.style.setProperty("--color", `rgb(${object.color.join(" ")})`);
    setAttribute(edit, "aria-label", object.prompt ? `Edit ${name}` : `Show ${name}`);
    setAttribute(edit, "aria-pressed", String(object.id === doc.editing));
    setAttribute(label, "aria-label", `Label of object ${object.id}`);
    setAttribute(remove, "aria-label", `Remove ${name}`);
    if (label.dataset.label !== object.label) label.value = label.dataset.label = object.label;
    if (image && bitmap) drawSoon(/** @type {HTMLCanvasElement} */ (edit.firstElementChild), layerOfKept(object, image.shown), bitmap);
  });
  setRoving(list, "[data-edit]", (button) => Number(button.dataset.edit) === doc.editing);
  syncList(page.part("labels"), labelsOf(state), (label) => label, (label) => element("option", { value: label }), () => {});
}

/** @param {Page} page @param {State} state */
function renderRun(page, { settings, mode, run, progress, image }) {
  const names = settings.modes;
  const modes = page.part("modes");
  modes.hidden = names.length < 2;
  syncList(modes, names, (name) => name, (name) => element("button", { type: "button", role: "radio", "data-mode": name, title: MODES[name]?.[1] ?? "" }, MODES[name]?.[0] ?? name), () => {});
  checkOne(modes, "mode", mode);
  const button = /** @type {HTMLButtonElement} */ (page.root.querySelector('[data-do="everything"]'));
  disable(page, button, !image);
  setText(button, progress ? "Cancel" : "Segment everything");
  const bar = page.part("progress");
  bar.hidden = !progress;
  const percent = Math.round(100 * (progress?.share ?? 0));
  setAttribute(bar, "aria-valuenow", String(percent));
  /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${percent}%`;
  const count = run ? `${run.segments.length} ${run.segments.length === 1 ? "segment" : "segments"}` : "";
  setText(page.part("count"), progress ? progress.text : !run ? "Segments every object in the image." : run.partial ? `${count} before you canceled.` : `${count}. ${run.segments.length ? HINT : ""}`);
}

/** @param {Page} page @param {State} state */
function renderSegments(page, state) {
  const { run, selected, pointed, image, bitmap, tab } = state;
  const list = page.part("segments");
  const order = tab === "everything" ? segmentOrder(state).slice(0, MOST_ROWS) : [];
  list.hidden = !order.length;
  page.part("list-head").hidden = !order.length;
  const sort = /** @type {HTMLSelectElement} */ (page.part("sort"));
  if (sort.value !== state.sort) sort.value = state.sort;
  setAttribute(/** @type {Element} */ (page.root.querySelector('[data-do="unselect"]')), "hidden", !selected.length);
  if (!run || !image || !bitmap || !order.length) {
    if (tab === "everything" || !run) list.replaceChildren();
    return;
  }
  const { layers } = layersOfRun(run, image.shown);
  syncList(list, order, (index) => `${run.run}-${index}`, (index) => {
    const { area, share, predicted_iou, color } = run.segments[index];
    const size = share >= 0.001 ? `${(100 * share).toFixed(1)} %` : `${area} px`;
    const score = Math.min(1, predicted_iou).toFixed(2);
    const unseen = (/** @type {string} */ text) => element("span", { class: "unseen" }, text);
    const button = element("button", { type: "button", "data-segment": `${index}` }, element("canvas", { "aria-hidden": "true" }));
    button.append(unseen(`Segment ${index + 1}, `), element("span", {}, size), element("small", {}, unseen("predicted IoU "), score));
    button.style.setProperty("--color", `rgb(${color.join(" ")})`);
    return element("li", {}, button);
  }, (row, index) => {
    const button = /** @type {HTMLElement} */ (row.firstElementChild);
    setAttribute(button, "aria-pressed", String(selected.includes(index)));
    button.classList.toggle("hovered", index === pointed);
    drawSoon(/** @type {HTMLCanvasElement} */ (button.firstElementChild), layers[index], bitmap);
  });
  setRoving(list, "[data-segment]", (button) => selected.includes(Number(button.dataset.segment)));
}

/** @param {Page} page @param {State} state */
function renderView(page, { look, clean, opacity }) {
  checkOne(page.part("looks"), "look", look);
  const box = /** @type {HTMLInputElement} */ (page.part("clean"));
  if (box.checked !== clean) box.checked = clean;
  const range = /** @type {HTMLInputElement} */ (page.part("opacity"));
  disableInput(range, look !== "overlay");
  if (Number(range.value) !== Math.round(100 * opacity)) range.value = String(Math.round(100 * opacity));
}

/** @param {HTMLInputElement} input @param {boolean} disabled */
function disableInput(input, disabled) {
  if (input.disabled !== disabled) input.disabled = disabled;
}

/** @param {Page} page @param {State} state */
function renderSave(page, state) {
  const { tab, run, selected, doc, settings } = state;
  const all = tab === "everything";
  const count = all ? selected.length || (run?.segments.length ?? 0) : doc.objects.length + (maskOf(state) && doc.editing === null ? 1 : 0);
  const prompts = !all && (hasObject(doc.prompt) || doc.objects.some(({ prompt }) => prompt));
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (page.root.querySelectorAll("[data-save]"))) {
    button.hidden = !(settings.formats ?? [button.dataset.save]).includes(button.dataset.save);
    disable(page, button, !count || (button.dataset.save === "prompts" && !prompts));
  }
  const what = all ? (selected.length ? "selected" : "segments") : "objects";
  setText(page.part("save-title"), count > 1 || (all && count) ? `Save ${count} ${what}` : "Save");
}

/** Return what a screen reader says after a change. @param {State} state */
function spoken(state) {
  const { tab, run, selected, progress, doc, decoding } = state;
  if (tab === "everything") {
    if (progress || !run) return "";
    return `${run.segments.length} segments, ${selected.length} selected`;
  }
  if (decoding || !isDecoded(state)) return doc.objects.length ? `${doc.objects.length} objects` : "";
  const candidates = candidatesOf(state);
  if (!candidates.length) return "";
  const chosen = candidates.findIndex((each) => each.chosen) + 1;
  return candidates.length === 1 ? "1 mask" : `${candidates.length} masks, ${chosen} chosen: ${candidates[chosen - 1]?.name.toLowerCase()}`;
}

// What the page shows: the scene on the canvas, the candidate masks, the state of the buttons, messages.

import { COLOR, Layer } from "./masks.js";
import { hasObject, marks, NOTHING } from "./prompt.js";

const THUMBNAIL = 160; // pixels of its longer side
const EMPTY = "Click the object in the image. Its candidate masks appear here; the one most likely meant is chosen.";
const BACKGROUND = "This marks the background. Now click the object with the tool Object, or drag a box around it.";
const REFINED = "This mask refines the one that you chose.";
const CONFIDENCE = "Confidence: the IoU to expect with the object that you mean, from 0 to 1";

/** Return a time in milliseconds as text. */
export function duration(ms) {
  if (ms >= 9950) return `${(ms / 1000).toFixed(0)} s`;
  return `${ms < 100 ? ms.toFixed(0) : Math.round(ms / 10) * 10} ms`;
}

/** Return a new button with its content, attributes, and a listener. */
export function newButton(content, attributes, onClick) {
  const button = document.createElement("button");
  button.append(...content);
  for (const [name, value] of Object.entries({ type: "button", ...attributes })) button.setAttribute(name, value);
  button.addEventListener("click", onClick);
  return button;
}

/** Return a new element with text. */
export function newText(tag, textContent, title = "") {
  return Object.assign(document.createElement(tag), { textContent, title });
}

export class View {
  constructor(page) {
    Object.assign(this, { page, layers: [], clickedAt: null, afterPaint: [] });
    this.clock = { encode: null, decode: null, everything: null };
  }

  /** Show the candidate masks of a session. */
  masks({ masks, image, chosen }) {
    this.layers = masks.map(({ rle }) => new Layer(rle, image.shown, COLOR));
    this.#candidates(masks, chosen);
  }

  draw() {
    const { page } = this;
    const { masks, chosen, undo, redo } = page.session;
    const prompt = page.all ? NOTHING : page.expected;
    const marked = marks(prompt);
    if (marked) page.preview.drop();
    const plain = page.look === "mask" || page.look === "cutout";
    const { layers, outlined, back = null } = page.all ? page.everything.layers() : this.#one(marked, chosen);
    page.stage.show({
      look: page.look,
      opacity: page.part("opacity").value / 100,
      layers,
      back,
      outlined: plain ? [] : outlined,
      points: plain ? [] : prompt.points,
      box: plain ? null : prompt.box,
    });
    page.root.dataset.marked = String(marked);
    page.root.dataset.look = page.look;
    this.#enable("undo", undo || page.queue.open.length);
    this.#enable("redo", redo);
    this.#enable("clear", marked);
    this.#hint(prompt, masks);
    for (const [index, button] of [...page.part("candidates").children].entries()) {
      button.setAttribute("aria-checked", String(index === chosen));
    }
    for (const button of page.root.querySelectorAll("[data-save]")) {
      button.disabled = page.all
        ? !page.everything.segments.length || button.dataset.save === "prompts"
        : !masks.length;
    }
    page.part("save-title").textContent = page.all ? page.everything.title() : "Save";
  }

  /** Return the chosen mask, or the one under the pointer, which is fainter. */
  #one(marked, chosen) {
    const layer = marked ? this.layers[chosen] : this.page.preview.layer;
    const layers = layer ? [layer] : [];
    return { layers, outlined: layers, back: marked ? null : layer };
  }

  /** Show what to do next, over the image too while only the background is marked. */
  #hint(prompt, masks) {
    const waits = marks(prompt) && !hasObject(prompt);
    const refines = masks.length > 0 && this.page.session.prompt.steps?.length > 0;
    if (this.page.root.dataset.state === "ready") this.status(waits ? "Now mark the object" : "");
    const hint = this.page.part("mask-hint");
    hint.textContent = waits ? BACKGROUND : refines ? REFINED : EMPTY;
    hint.hidden = masks.length > 0 && !refines;
  }

  #enable(name, possible) {
    for (const button of this.page.root.querySelectorAll(`[data-do="${name}"]`)) button.disabled = !possible;
  }

  #candidates(masks, chosen) {
    this.afterPaint = [];
    const buttons = masks.map(({ predicted_iou, confidence }, index) => {
      const layer = this.layers[index];
      const canvas = document.createElement("canvas");
      this.afterPaint.push(() => layer === this.layers[index] && this.#thumbnail(canvas, layer.canvas));
      const iou = Math.min(1, confidence ?? predicted_iou).toFixed(2);
      const text = newText("span", iou, confidence === null ? "Predicted IoU, from 0 to 1" : CONFIDENCE);
      const attributes = { role: "radio", "aria-checked": index === chosen };
      return newButton([canvas, text], attributes, () => this.page.choose(index));
    });
    this.page.part("candidates").replaceChildren(...buttons);
  }

  #thumbnail(canvas, mask) {
    const scale = Math.min(1, THUMBNAIL / Math.max(mask.width, mask.height));
    canvas.width = Math.max(1, Math.round(mask.width * scale));
    canvas.height = Math.max(1, Math.round(mask.height * scale));
    const context = canvas.getContext("2d");
    const { bitmap } = this.page.stage.scene;
    if (bitmap) {
      context.globalAlpha = 0.35;
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 0.85;
    }
    context.drawImage(mask, 0, 0, canvas.width, canvas.height);
  }

  /** Record the time of a mark; `data-painted-ms` is the time until its mask is on the canvas. */
  clicked() {
    this.clickedAt = performance.now();
  }

  /** Record that the mask of a click is on the canvas, then draw the thumbnails. */
  painted() {
    const later = this.afterPaint.splice(0);
    if (later.length) setTimeout(() => later.forEach((task) => task()));
    const { queue, session, root } = this.page;
    if (this.clickedAt === null || queue.open.length || !session.masks.length) return;
    root.dataset.paintedMs = (performance.now() - this.clickedAt).toFixed(1);
    this.clickedAt = null;
  }

  /** Show the times of steps: name to milliseconds, null to remove one. */
  times(changes) {
    this.clock = { ...this.clock, ...changes };
    const known = Object.entries(this.clock).filter(([, ms]) => ms !== null);
    this.page.part("timing").textContent = known.map(([name, ms]) => `${name} ${duration(ms)}`).join("  ·  ");
  }

  /** Show a state of the page, and a text over the canvas. */
  state(state, text = "") {
    this.page.root.dataset.state = state;
    this.page.part("model").disabled = state === "opening";
    this.status(text);
  }

  status(text) {
    this.page.part("status").textContent = text;
  }

  /** Show a message above the image, or none; `kind` is "error" or "note". */
  message(text, kind = "error") {
    const box = this.page.part("message");
    this.page.part("message-text").textContent = text;
    box.dataset.kind = kind;
    box.hidden = !text;
  }
}

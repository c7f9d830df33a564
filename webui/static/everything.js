// Everything mode: runs it, lists what it found, and lets segments be hovered and chosen.

import { fillRuns, Layer, segmentMap } from "./masks.js";
import { follow } from "./transport.js";

const SHOWN_ROWS = 200;
const HINT = matchMedia("(hover: none)").matches ? "Tap one to select it." : "Hover to see one, click to select it.";
const MOST_RIMS = 150; // more outlines than that hide the picture

export class Everything {
  constructor(studio) {
    this.studio = studio;
    this.mode = null;
    this.segments = [];
    this.selected = new Set();
    this.hovered = null;
    this.turn = 0;
    this.clear();
    studio.part("sort").addEventListener("change", () => this.#list());
  }

  /** Show the modes the server has: name to [label, description]. */
  offer(modes) {
    const names = Object.keys(modes);
    this.mode = names[0] ?? null;
    const buttons = names.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("role", "radio");
      [button.textContent, button.title] = modes[name];
      button.addEventListener("click", () => this.#chooseMode(name));
      button.dataset.mode = name;
      return button;
    });
    this.studio.part("modes").replaceChildren(...buttons);
    this.studio.part("modes").hidden = names.length < 2;
    this.#chooseMode(this.mode);
  }

  #chooseMode(name) {
    this.mode = name;
    for (const button of this.studio.part("modes").children) {
      button.setAttribute("aria-checked", String(button.dataset.mode === name));
    }
  }

  /** Forget what was found: the picture is another. */
  clear() {
    this.turn++;
    this.segments = [];
    this.foundBy = null; // the number of the run that found the segments
    this.#found();
    this.#running(false);
    this.studio.part("count").textContent = `Finds every object at once. ${HINT}`;
  }

  async run() {
    const { studio } = this;
    if (!studio.session.image) return;
    const run = ++this.turn;
    studio.notice("");
    this.#running(true);
    this.#progress(0, "Starting …");
    try {
      const headers = { ...studio.headers, "Content-Type": "application/json" };
      const body = JSON.stringify({ mode: this.mode });
      const done = await follow("studio/everything", { headers, body }, (event) => {
        if (run !== this.turn) return;
        if (event.waiting) this.#progress(0, `Waiting in the queue, place ${event.waiting} …`);
        if (event.progress) this.#progress(event.progress.done / event.progress.total, `${event.progress.found} candidates so far …`);
      });
      if (run !== this.turn) return;
      studio.view.times({ everything: done.ms });
      this.segments = done.segments;
      this.foundBy = done.run;
      this.#found();
      const count = `${done.segments.length} ${done.segments.length === 1 ? "segment" : "segments"}`;
      studio.part("count").textContent = done.partial
        ? `${count} found before you cancelled.`
        : `${count}. ${HINT}`;
    } catch (error) {
      if (run !== this.turn) return;
      studio.part("count").textContent = "";
      studio.refused(error);
    }
    this.#running(false);
  }

  /** Ask the server to stop; what it has by then arrives as the result. */
  async stop() {
    if (!this.running) return;
    this.studio.part("count").textContent = "Stopping …";
    try {
      await this.studio.visit.call("cancel");
    } catch (error) {
      this.studio.refused(error);
    }
  }

  #running(running) {
    this.running = running;
    const { root } = this.studio;
    root.querySelector('[data-do="everything"]').hidden = running;
    root.querySelector('[data-do="cancel"]').hidden = !running;
    this.studio.part("progress").hidden = !running;
  }

  #progress(share, text) {
    this.studio.part("progress").firstElementChild.style.width = `${Math.round(100 * share)}%`;
    this.studio.part("count").textContent = text;
  }

  #found() {
    const { studio } = this;
    const shown = studio.session?.image?.shown;
    this.selected = new Set();
    this.hovered = null;
    this.tints = new Map();
    this.map = null;
    this.all = null;
    if (this.segments.length) {
      this.map = segmentMap(this.segments, shown);
      this.all = { canvas: this.#paintAll(shown) };
    }
    this.#list();
    studio.redraw();
  }

  #paintAll(shown) {
    const canvas = new OffscreenCanvas(shown.width, shown.height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(shown.width, shown.height);
    const pixels = new Uint32Array(image.data.buffer);
    const order = [...this.segments].sort((a, b) => b.area - a.area);
    for (const segment of order) fillRuns(pixels, segment.rle, segment.color);
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /** Return the segment under a pixel of the original picture: its index, or null. */
  at(pixel) {
    if (!pixel || !this.map) return null;
    const { width, height, shown } = this.studio.session.image;
    const x = Math.min(shown.width - 1, Math.floor(((pixel.x + 0.5) * shown.width) / width));
    const y = Math.min(shown.height - 1, Math.floor(((pixel.y + 0.5) * shown.height) / height));
    return this.map[y * shown.width + x] - 1;
  }

  hover(pixel) {
    if (!this.studio.all) return;
    const index = this.at(pixel);
    this.#hover(index === null || index < 0 ? null : index);
  }

  #hover(index) {
    if (index === this.hovered) return;
    this.hovered = index;
    this.#mark();
  }

  toggle(pixel) {
    const index = this.at(pixel);
    if (index !== null && index >= 0) this.select(index);
  }

  /** Select a segment, or unselect it; null unselects all. */
  select(index) {
    if (index === null) this.selected.clear();
    else if (!this.selected.delete(index)) this.selected.add(index);
    this.#mark();
  }

  escape() {
    if (this.running) this.stop();
    else this.select(null);
  }

  title() {
    const count = this.selected.size;
    return count ? `Save ${count} selected` : this.segments.length ? `Save all ${this.segments.length}` : "Save";
  }

  /** Return what the server is asked to save. */
  saved() {
    return this.studio.all
      ? { source: "everything", selected: [...this.selected], run: this.foundBy }
      : { source: "prompt" };
  }

  /** Return what the canvas paints over the picture, and which of it is outlined. */
  layers() {
    if (!this.segments.length) return { layers: [], outlined: [] };
    const marked = [...this.selected];
    const { look } = this.studio;
    if (look === "mask" || look === "cutout") {
      if (!marked.length && this.hovered !== null) marked.push(this.hovered);
      return { layers: marked.length ? marked.map((index) => this.#tint(index)) : [this.all], outlined: [] };
    }
    if (this.hovered !== null && !marked.includes(this.hovered)) marked.push(this.hovered);
    const tints = marked.map((index) => this.#tint(index));
    if (look === "outline") return { layers: [], outlined: tints.length ? tints : this.segments.map((_, other) => this.#tint(other)) };
    const back = tints.length ? this.all : null;
    const rims = this.segments.length <= MOST_RIMS ? this.segments.map((_, other) => this.#tint(other)) : [];
    return { layers: [this.all, ...tints], outlined: tints.length ? tints : rims, back };
  }

  #tint(index) {
    let layer = this.tints.get(index);
    if (!layer) {
      const { rle, color } = this.segments[index];
      layer = new Layer(rle, this.studio.session.image.shown, color);
      this.tints.set(index, layer);
    }
    return layer;
  }

  #list() {
    const { studio } = this;
    const key = studio.part("sort").value;
    const order = this.segments.map((_, index) => index).sort((a, b) => this.segments[b][key] - this.segments[a][key]);
    const rows = order.slice(0, SHOWN_ROWS).map((index) => this.#row(index));
    studio.part("segments").replaceChildren(...rows);
    studio.part("list-head").hidden = !this.segments.length;
  }

  #row(index) {
    const { area, share, predicted_iou, color } = this.segments[index];
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.segment = index;
    const swatch = document.createElement("i");
    swatch.style.background = `rgb(${color.join(" ")})`;
    const size = document.createElement("span");
    size.textContent = share >= 0.001 ? `${(100 * share).toFixed(1)} %` : `${area} px`;
    const text = document.createElement("small");
    text.textContent = Math.min(1, predicted_iou).toFixed(2);
    button.append(swatch, size, text);
    button.addEventListener("click", () => this.select(index));
    button.addEventListener("pointerenter", () => this.#hover(index));
    button.addEventListener("pointerleave", () => this.#hover(null));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  #mark() {
    const { studio } = this;
    for (const button of studio.part("segments").querySelectorAll("button")) {
      const index = Number(button.dataset.segment);
      button.setAttribute("aria-pressed", String(this.selected.has(index)));
      button.classList.toggle("hovered", index === this.hovered);
    }
    studio.root.querySelector('[data-do="unselect"]').hidden = !this.selected.size;
    studio.redraw();
  }
}

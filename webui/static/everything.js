// Everything mode: runs it, lists the segments, and handles hovering and selection.

import { fillRuns, Layer, segmentMap } from "./masks.js";
import { follow } from "./transport.js";
import { newButton, newText } from "./view.js";

const SHOWN_ROWS = 200;
const HINT = matchMedia("(hover: none)").matches ? "Tap one to select it." : "Hover to see one, click to select it.";
const MOST_OUTLINES = 150; // more would hide the image

export class Everything {
  constructor(page) {
    Object.assign(this, { page, mode: null, turn: 0 });
    this.clear();
    page.part("sort").addEventListener("change", () => this.#list());
  }

  /** Show the modes of the server: name to [label, description]. */
  offer(modes) {
    const names = Object.keys(modes);
    const buttons = names.map((name) => {
      const [label, title] = modes[name];
      return newButton([label], { role: "radio", title, "data-mode": name }, () => this.#chooseMode(name));
    });
    this.page.part("modes").replaceChildren(...buttons);
    this.page.part("modes").hidden = names.length < 2;
    this.#chooseMode(names[0] ?? null);
  }

  #chooseMode(name) {
    this.mode = name;
    for (const button of this.page.part("modes").children) {
      button.setAttribute("aria-checked", String(button.dataset.mode === name));
    }
  }

  /** Drop the segments of an earlier image. */
  clear() {
    this.turn++;
    this.#update([], null);
    this.#running(false);
    this.page.part("count").textContent = `Segments every object in the image. ${HINT}`;
  }

  async run() {
    const { page } = this;
    if (!page.session.image) return;
    const run = ++this.turn;
    page.message("");
    this.#running(true);
    this.#progress(0, "Starting …");
    try {
      const headers = { ...page.headers, "Content-Type": "application/json" };
      const body = JSON.stringify({ mode: this.mode });
      const done = await follow("service/everything", { headers, body }, (event) => {
        if (run !== this.turn) return;
        if (event.waiting) this.#progress(0, `Waiting in the queue, place ${event.waiting} …`);
        if (event.progress) this.#progress(event.progress.done / event.progress.total, `${event.progress.candidates} candidates so far …`);
      });
      if (run !== this.turn) return;
      page.view.times({ everything: done.ms });
      this.#update(done.segments, done.run);
      const count = `${done.segments.length} ${done.segments.length === 1 ? "segment" : "segments"}`;
      page.part("count").textContent = done.partial
        ? `${count} before you canceled.`
        : `${count}. ${HINT}`;
    } catch (error) {
      if (run !== this.turn) return;
      page.part("count").textContent = "";
      page.refused(error);
    }
    this.#running(false);
  }

  /** End the run early; its response contains the segments so far. */
  async stop() {
    if (!this.running) return;
    this.page.part("count").textContent = "Stopping …";
    try {
      await this.page.client.call("cancel");
    } catch (error) {
      this.page.refused(error);
    }
  }

  #running(running) {
    this.running = running;
    const { root } = this.page;
    root.querySelector('[data-do="everything"]').hidden = running;
    root.querySelector('[data-do="cancel"]').hidden = !running;
    this.page.part("progress").hidden = !running;
  }

  #progress(share, text) {
    this.page.part("progress").firstElementChild.style.width = `${Math.round(100 * share)}%`;
    this.page.part("count").textContent = text;
  }

  /** Show the segments of the run with a number. */
  #update(segments, number) {
    Object.assign(this, { segments, number });
    const { page } = this;
    const shown = page.session?.image?.shown;
    Object.assign(this, { selected: new Set(), hovered: null, tints: new Map(), map: null, all: null });
    if (this.segments.length) {
      this.map = segmentMap(this.segments, shown);
      this.all = { canvas: this.#paintAll(shown) };
    }
    this.#list();
    page.redraw();
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

  /** Return the index of the segment at a pixel of the original image, -1 for none, or null without segments. */
  at(pixel) {
    if (!pixel || !this.map) return null;
    const { width, height, shown } = this.page.session.image;
    const x = Math.min(shown.width - 1, Math.floor(((pixel.x + 0.5) * shown.width) / width));
    const y = Math.min(shown.height - 1, Math.floor(((pixel.y + 0.5) * shown.height) / height));
    return this.map[y * shown.width + x] - 1;
  }

  hover(pixel) {
    if (!this.page.all) return;
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

  /** Return the body of a request to save. */
  saved() {
    return this.page.all
      ? { source: "everything", selected: [...this.selected], run: this.number }
      : { source: "prompt" };
  }

  /** Return the layers that the canvas paints over the image, and those that are outlined. */
  layers() {
    if (!this.segments.length) return { layers: [], outlined: [] };
    const marked = [...this.selected];
    const { look } = this.page;
    if (look === "mask" || look === "cutout") {
      if (!marked.length && this.hovered !== null) marked.push(this.hovered);
      return { layers: marked.length ? marked.map((index) => this.#tint(index)) : [this.all], outlined: [] };
    }
    if (this.hovered !== null && !marked.includes(this.hovered)) marked.push(this.hovered);
    const tints = marked.map((index) => this.#tint(index));
    if (look === "outline") return { layers: [], outlined: tints.length ? tints : this.segments.map((_, other) => this.#tint(other)) };
    const back = tints.length ? this.all : null;
    const outlines = this.segments.length <= MOST_OUTLINES ? this.segments.map((_, other) => this.#tint(other)) : [];
    return { layers: [this.all, ...tints], outlined: tints.length ? tints : outlines, back };
  }

  #tint(index) {
    const { rle, color } = this.segments[index];
    if (!this.tints.has(index)) this.tints.set(index, new Layer(rle, this.page.session.image.shown, color));
    return this.tints.get(index);
  }

  #list() {
    const { page } = this;
    const key = page.part("sort").value;
    const order = this.segments.map((_, index) => index).sort((a, b) => this.segments[b][key] - this.segments[a][key]);
    const rows = order.slice(0, SHOWN_ROWS).map((index) => this.#row(index));
    page.part("segments").replaceChildren(...rows);
    page.part("list-head").hidden = !this.segments.length;
  }

  #row(index) {
    const { area, share, predicted_iou, color } = this.segments[index];
    const swatch = document.createElement("i");
    swatch.style.background = `rgb(${color.join(" ")})`;
    const size = newText("span", share >= 0.001 ? `${(100 * share).toFixed(1)} %` : `${area} px`);
    const iou = newText("small", Math.min(1, predicted_iou).toFixed(2));
    const button = newButton([swatch, size, iou], { "data-segment": index }, () => this.select(index));
    button.addEventListener("pointerenter", () => this.#hover(index));
    button.addEventListener("pointerleave", () => this.#hover(null));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  #mark() {
    const { page } = this;
    for (const button of page.part("segments").querySelectorAll("button")) {
      const index = Number(button.dataset.segment);
      button.setAttribute("aria-pressed", String(this.selected.has(index)));
      button.classList.toggle("hovered", index === this.hovered);
    }
    page.root.querySelector('[data-do="unselect"]').hidden = !this.selected.size;
    page.redraw();
  }
}

// Mouse, pen and fingers on the canvas: clicks, boxes, zoom and movement of the view.

import { nearestPixel, panned, pixelAt, zoomed } from "./viewport.js";

/** @typedef {import("./viewport.js").Place} Place */
/** @typedef {import("./page.js").Page} Page */

/** @type {Record<string, number>} */
const DRAG = { mouse: 4, pen: 6, touch: 10 }; // CSS pixels that a pointer may move in a click
const WHEEL = 0.0022; // of the logarithm of the scale, for a pixel of the wheel
const LINE = 16; // pixels of a line, in which some wheels count

export class Pointer {
  /** @type {Map<number, Place>} the fingers on the canvas */
  #fingers = new Map();
  /** @type {{ id: number, from: Place, last: Place, moved: boolean, does: "mark" | "box" | "move", background: boolean, type: string } | null} */
  #drag = null;
  #pinched = false; // until all fingers are lifted
  space = false; // whether the space bar is held

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    const { canvas } = page.painter;
    this.canvas = canvas;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => {
      this.#fingers.delete(event.pointerId);
      if (!this.#fingers.size) this.#pinched = false;
      this.cancel();
    });
    canvas.addEventListener("pointerleave", () => page.preview.hover(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("touchmove", (event) => { if (event.touches.length > 1 || this.page.store.state.viewport) event.preventDefault(); }, { passive: false });
    canvas.addEventListener("auxclick", (event) => event.preventDefault());
  }

  get isDragging() {
    return this.#drag !== null;
  }

  /** End a drag without an effect; return whether there was one. */
  cancel() {
    const dragging = this.#drag !== null;
    this.#drag = null;
    this.page.painter.drag = null;
    this.page.painter.invalidate();
    return dragging;
  }

  /** @param {MouseEvent} event @returns {Place} */
  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const { page } = this;
    const at = this.#at(event);
    if (event.pointerType === "touch") {
      this.#fingers.set(event.pointerId, at);
      if (this.#fingers.size > 1) {
        this.#pinched = true;
        this.cancel();
        return;
      }
    }
    if (!page.painter.fit || !event.isPrimary || ![0, 1, 2].includes(event.button)) return;
    const does = this.#whatADragDoes(event);
    if (event.button === 1) event.preventDefault(); // no scrolling by the middle button
    if (does === "box" || does === "move") {
      try {
        this.canvas.setPointerCapture(event.pointerId);
      } catch {
        // A script made the event.
      }
    }
    const background = event.button === 2 || event.shiftKey || page.store.state.tool === "background";
    this.#drag = { id: event.pointerId, from: at, last: at, moved: false, does, background, type: event.pointerType };
  }

  /** @param {PointerEvent} event @returns {"mark" | "box" | "move"} */
  #whatADragDoes(event) {
    const { tab, tool, viewport } = this.page.store.state;
    if (event.button === 1 || this.space) return "move";
    if (event.button === 2) return "mark";
    if (tab === "everything") return viewport ? "move" : "mark";
    if (event.pointerType !== "touch" || tool === "box") return "box";
    return viewport ? "move" : "mark"; // a finger scrolls the page
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const { page } = this;
    const at = this.#at(event);
    if (this.#fingers.has(event.pointerId)) {
      if (this.#fingers.size === 2) this.#pinch(event.pointerId, at);
      this.#fingers.set(event.pointerId, at);
      if (this.#pinched) return;
    }
    const drag = this.#drag;
    if (!drag) {
      if (page.painter.fit && event.pointerType === "mouse") page.preview.hover(pixelAt(page.painter.fit, at));
      return;
    }
    if (event.pointerId !== drag.id) return;
    drag.moved ||= Math.hypot(at.x - drag.from.x, at.y - drag.from.y) > (DRAG[drag.type] ?? DRAG.mouse);
    const { fit, view } = page.painter;
    const { image, viewport } = page.store.state;
    if (drag.moved && fit && image) {
      if (drag.does === "move") page.view.show(panned(view, image, viewport, at.x - drag.last.x, at.y - drag.last.y));
      else if (drag.does === "box") page.painter.drag = { from: nearestPixel(fit, drag.from), to: nearestPixel(fit, at) };
      page.painter.invalidate();
    }
    drag.last = at;
  }

  /** @param {PointerEvent} event */
  #up(event) {
    this.#fingers.delete(event.pointerId);
    if (this.#pinched) {
      if (!this.#fingers.size) this.#pinched = false;
      return;
    }
    const drag = this.#drag;
    const { fit } = this.page.painter;
    if (!drag || !fit || event.pointerId !== drag.id) return;
    this.cancel();
    if (drag.moved) {
      if (drag.does === "box") this.page.marking.box(nearestPixel(fit, drag.from), nearestPixel(fit, this.#at(event)));
      return;
    }
    const pixel = pixelAt(fit, drag.from);
    if (pixel && event.button !== 1 && !this.space) this.page.point(pixel, drag.background ? 0 : 1);
  }

  /** Zoom and move the view with the second finger's movement. @param {number} id @param {Place} at */
  #pinch(id, at) {
    const before = /** @type {Place} */ (this.#fingers.get(id));
    const other = /** @type {Place} */ ([...this.#fingers].find(([each]) => each !== id)?.[1]);
    const middle = (/** @type {Place} */ one) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
    const length = (/** @type {Place} */ one) => Math.max(8, Math.hypot(one.x - other.x, one.y - other.y));
    const { view } = this.page.painter;
    const { image, viewport } = this.page.store.state;
    if (!image) return;
    const [from, to] = [middle(before), middle(at)];
    const scaled = zoomed(view, image, viewport, length(at) / length(before), from);
    this.page.view.show(panned(view, image, scaled, to.x - from.x, to.y - from.y));
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    const { view } = this.page.painter;
    const { image, viewport } = this.page.store.state;
    if (!image) return;
    const delta = event.deltaY * (event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? view.height : 1);
    if (!viewport && delta > 0 && !event.ctrlKey) return; // the whole image is shown: scroll the page
    event.preventDefault();
    const speed = event.ctrlKey ? 5 : 1; // a pinch on a touchpad
    this.page.view.show(zoomed(view, image, viewport, Math.exp(-delta * WHEEL * speed), this.#at(event)));
  }
}

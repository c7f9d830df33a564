// The canvas: paints the image, masks and marks, and converts pointer events to pixels of the image.

import { boxBetween, fit, nearestPixel, pixelAt, placeOf } from "./geometry.js";

const DRAG = { mouse: 4, pen: 6, touch: 10 }; // CSS pixels that a pointer may move in a click
const MOST_SCALE = 3; // of a small image
const LEAST_SIDE = 256; // CSS pixels, to which a tiny image is enlarged with any scale
const INK = "rgba(12, 16, 22, 0.75)";
const FOREGROUND = "#18a058";
const BACKGROUND = "#dc323c";

export class Stage {
  /** `on` has point(pixel, label), box(corners), hover(pixel or null) and painted(). */
  constructor(canvas, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.on = on;
    this.scene = { bitmap: null, size: null, shown: null };
    this.tool = "foreground";
    this.touchDraws = false;
    this.drag = null;
    this.frame = 0;
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    this.#listen();
    this.#resize();
  }

  /** Change the scene and paint it in the next frame. */
  show(changes) {
    Object.assign(this.scene, changes);
    this.invalidate();
  }

  invalidate() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.#paint());
  }

  /** The fit of the image in the view; null without an image. */
  get fitted() {
    const { size } = this.scene;
    if (!size || !this.view.width || !this.view.height) return null;
    return fit(this.view, size, Math.max(MOST_SCALE, LEAST_SIDE / Math.max(size.width, size.height)));
  }

  #resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.view = { width: this.canvas.parentElement.clientWidth, height: this.canvas.parentElement.clientHeight };
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.view.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.view.height * this.ratio));
    if (box.width) this.invalidate();
  }

  // Pointer ---------------------------------------------------------------------------------------------------------

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.cancelDrag());
    canvas.addEventListener("pointerleave", () => this.on.hover(null));
  }

  cancelDrag() {
    const dragging = this.drag !== null;
    this.drag = null;
    this.invalidate();
    return dragging;
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    if (!this.fitted || !event.isPrimary || (event.button !== 0 && event.button !== 2)) return;
    const from = this.#at(event);
    if (!pixelAt(this.fitted, from.x, from.y)) return;
    if (event.pointerType !== "touch" || this.tool === "box") this.canvas.setPointerCapture(event.pointerId);
    this.drag = { from, to: from, moved: false, button: event.button, shift: event.shiftKey, type: event.pointerType };
  }

  #move(event) {
    const at = this.#at(event);
    if (!this.drag) {
      if (this.fitted && event.pointerType === "mouse") this.on.hover(pixelAt(this.fitted, at.x, at.y));
      return;
    }
    const far = Math.hypot(at.x - this.drag.from.x, at.y - this.drag.from.y) > (DRAG[this.drag.type] ?? DRAG.mouse);
    this.drag.to = at;
    this.drag.moved ||= far;
    if (this.drag.moved) this.invalidate();
  }

  #up(event) {
    const { drag, fitted } = this;
    if (!drag || !fitted) return;
    drag.to = this.#at(event);
    this.cancelDrag();
    if (drag.moved) {
      const corners = drag.button === 0 && this.#drawsBoxes(drag) ? boxBetween(fitted, drag.from, drag.to) : null;
      if (corners) this.on.box(corners);
      return;
    }
    const pixel = nearestPixel(fitted, drag.from.x, drag.from.y);
    const background = drag.button === 2 || drag.shift || this.tool === "background";
    this.on.point(pixel, background ? 0 : 1);
  }

  /** Return whether a drag draws a box: a moving finger scrolls the page, unless the box tool is chosen. */
  #drawsBoxes(drag) {
    return drag.type !== "touch" || this.tool === "box";
  }

  // Painting --------------------------------------------------------------------------------------------------------

  #paint() {
    this.frame = 0;
    const { context, scene, ratio } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.view.width, this.view.height);
    const fitted = this.fitted;
    if (!fitted || !scene.bitmap) return;
    const area = [fitted.left, fitted.top, fitted.width * fitted.scale, fitted.height * fitted.scale];
    context.imageSmoothingEnabled = fitted.scale * (scene.size.width / scene.shown.width) < 3;
    context.imageSmoothingQuality = "high";
    this.#paintView(area);
    for (const layer of scene.outlined ?? []) this.#outline(layer, fitted);
    if (scene.box) this.#box(fitted, scene.box, false);
    for (const [x, y, label] of scene.points ?? []) this.#point(fitted, x, y, label);
    if (this.drag?.moved && this.#drawsBoxes(this.drag) && this.drag.button === 0) {
      const corners = boxBetween(fitted, this.drag.from, this.drag.to);
      if (corners) this.#box(fitted, corners, true);
    }
    this.on.painted();
  }

  #paintView(area) {
    const { context, scene } = this;
    const layers = scene.layers ?? [];
    if (scene.look === "mask") {
      context.fillStyle = "#000";
      context.fillRect(...area);
      context.filter = "brightness(0) invert(1)";
      for (const layer of layers) context.drawImage(layer.canvas, ...area);
      context.filter = "none";
    } else if (scene.look === "cutout") {
      this.#checkerboard(area);
      if (layers.length) context.drawImage(this.#cutout(layers), ...area);
    } else {
      context.drawImage(scene.bitmap, ...area);
      if (scene.look !== "overlay") return;
      for (const layer of layers) {
        context.globalAlpha = scene.opacity * (layer === scene.back ? 0.45 : 1);
        context.drawImage(layer.canvas, ...area);
      }
      context.globalAlpha = 1;
    }
  }

  #cutout(layers) {
    const { bitmap, shown } = this.scene;
    const canvas = new OffscreenCanvas(shown.width, shown.height);
    const context = canvas.getContext("2d");
    for (const layer of layers) context.drawImage(layer.canvas, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.drawImage(bitmap, 0, 0, shown.width, shown.height);
    return canvas;
  }

  #checkerboard([left, top, width, height]) {
    const { context } = this;
    const dark = getComputedStyle(this.canvas).getPropertyValue("--checker-a");
    const light = getComputedStyle(this.canvas).getPropertyValue("--checker-b");
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.fillStyle = light;
    context.fillRect(left, top, width, height);
    context.fillStyle = dark;
    for (let y = 0; y * 10 < height; y++) {
      for (let x = y % 2; x * 10 < width; x += 2) context.fillRect(left + x * 10, top + y * 10, 10, 10);
    }
    context.restore();
  }

  #outline(layer, fitted) {
    const { context, scene } = this;
    const scale = fitted.scale * (scene.size.width / scene.shown.width);
    context.save();
    context.translate(fitted.left, fitted.top);
    context.scale(scale, fitted.scale * (scene.size.height / scene.shown.height));
    context.lineJoin = "round";
    context.strokeStyle = INK;
    context.lineWidth = 3.6 / scale;
    context.stroke(layer.path);
    context.strokeStyle = `rgb(${layer.color.join(" ")})`;
    context.lineWidth = 1.8 / scale;
    context.stroke(layer.path);
    context.restore();
  }

  #point(fitted, x, y, label) {
    const { context } = this;
    const place = placeOf(fitted, x, y);
    const disc = (radius, color) => {
      context.beginPath();
      context.arc(place.x, place.y, radius, 0, 2 * Math.PI);
      context.fillStyle = color;
      context.fill();
    };
    disc(9.5, INK);
    disc(8.5, "#fff");
    disc(6.5, label ? FOREGROUND : BACKGROUND);
    context.fillStyle = "#fff";
    context.fillRect(place.x - 3.5, place.y - 1, 7, 2);
    if (label) context.fillRect(place.x - 1, place.y - 3.5, 2, 7);
  }

  #box(fitted, [x1, y1, x2, y2], live) {
    const { context } = this;
    const from = placeOf(fitted, x1, y1);
    const to = placeOf(fitted, x2, y2);
    const corners = [from.x, from.y, to.x - from.x, to.y - from.y];
    context.lineJoin = "round";
    context.setLineDash([]);
    context.strokeStyle = INK;
    context.lineWidth = 4;
    context.strokeRect(...corners);
    context.strokeStyle = "#fff";
    context.lineWidth = 2;
    context.setLineDash(live ? [6, 4] : []);
    context.strokeRect(...corners);
    context.setLineDash([]);
  }
}

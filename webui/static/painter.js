// Paints a state on the canvas, at most once a frame.

import { contextOf } from "./masks.js";
import { sceneOf } from "./scene.js";
import { boxBetween, fitOf, placeOf } from "./viewport.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./viewport.js").Fit} Fit */
/** @typedef {import("./viewport.js").Place} Place */
/** @typedef {import("./masks.js").Layer} Layer */

const INK = "rgba(12, 16, 22, 0.75)";
const FOREGROUND = "#18a058";
const BACKGROUND = "#dc323c";
const LEAST_SHARP = 3; // CSS pixels a pixel, from which pixels are shown as squares

export class Painter {
  /** @type {{ from: Place, to: Place } | null} a box that is being dragged, in pixels of the image */
  drag = null;
  frame = 0;
  view = { width: 0, height: 0 };
  ratio = 1;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => State} read returns the state
   * @param {{ painted: () => void, resized: () => void }} on
   */
  constructor(canvas, read, on) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (contextOf(canvas));
    this.read = read;
    this.on = on;
    new ResizeObserver(() => this.#resize()).observe(/** @type {Element} */ (canvas.parentElement));
    this.#resize();
  }

  /** Where the image lies; null without an image. */
  get fit() {
    const { image, viewport } = this.read();
    return image && this.view.width && this.view.height ? fitOf(this.view, image, viewport) : null;
  }

  invalidate() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.#paint());
  }

  #resize() {
    const parent = /** @type {Element} */ (this.canvas.parentElement);
    this.view = { width: parent.clientWidth, height: parent.clientHeight };
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.view.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.view.height * this.ratio));
    this.on.resized();
    this.invalidate();
  }

  #paint() {
    this.frame = 0;
    const { context, ratio, fit } = this;
    const state = this.read();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.view.width, this.view.height);
    const { image, bitmap } = state;
    if (!fit || !image || !bitmap) return;
    const scene = sceneOf(state);
    this.#paintLook(state, scene, fit, bitmap);
    const plain = state.look === "mask" || state.look === "cutout";
    if (!plain) {
      for (const layer of scene.outlines) this.#outline(layer, fit);
      if (scene.box) this.#box(fit, scene.box, false);
      for (const [x, y, label] of scene.points) this.#point(fit, x, y, label);
    }
    if (this.drag) this.#live(fit, this.drag.from, this.drag.to);
    if (state.crosshair && document.activeElement === this.canvas) {
      if (state.corner) this.#live(fit, state.corner, state.crosshair);
      this.#crosshair(fit, state.crosshair);
    }
    this.on.painted();
  }

  /** @param {State} state @param {import("./scene.js").Scene} scene @param {Fit} fit @param {ImageBitmap} bitmap */
  #paintLook(state, scene, fit, bitmap) {
    const { context } = this;
    const whole = /** @type {[number, number, number, number]} */ ([fit.left, fit.top, fit.width * fit.scale, fit.height * fit.scale]);
    if (state.look === "mask") {
      context.fillStyle = "#000";
      context.fillRect(...whole);
      if (scene.shapes.length) this.#union(scene.shapes, whole, (inside, size) => {
        inside.fillStyle = "#fff";
        inside.fillRect(0, 0, size.width, size.height);
      });
    } else if (state.look === "cutout") {
      this.#checkerboard(whole);
      if (scene.shapes.length) this.#union(scene.shapes, whole, (inside, size) => inside.drawImage(bitmap, 0, 0, size.width, size.height));
    } else {
      this.#image(state, fit, bitmap, whole);
      if (state.look !== "overlay") return;
      if (scene.all) {
        context.globalAlpha = scene.all.alpha;
        this.#smooth(fit.scale * (fit.width / scene.all.canvas.width));
        context.drawImage(scene.all.canvas, ...whole);
      }
      for (const { layer, alpha } of scene.fills) {
        context.globalAlpha = alpha;
        this.#layer(layer, fit);
      }
      context.globalAlpha = 1;
    }
  }

  /** @param {State} state @param {Fit} fit @param {ImageBitmap} bitmap @param {[number, number, number, number]} whole */
  #image({ crop }, fit, bitmap, whole) {
    const { context } = this;
    this.#smooth(fit.scale * (fit.width / bitmap.width));
    context.drawImage(bitmap, ...whole);
    if (!crop) return;
    const { x, y, width, height } = crop.area;
    this.#smooth(fit.scale * (width / crop.bitmap.width));
    context.drawImage(crop.bitmap, fit.left + x * fit.scale, fit.top + y * fit.scale, width * fit.scale, height * fit.scale);
  }

  /** Show pixels as squares where they are large. @param {number} scale CSS pixels a pixel of the source */
  #smooth(scale) {
    this.context.imageSmoothingEnabled = scale < LEAST_SHARP;
    this.context.imageSmoothingQuality = "high";
  }

  /** @param {Layer} layer @param {Fit} fit */
  #layer(layer, fit) {
    if (layer.isEmpty) return;
    const { area, size } = layer;
    const [scaleX, scaleY] = [(fit.scale * fit.width) / size.width, (fit.scale * fit.height) / size.height];
    this.#smooth(scaleX);
    this.context.drawImage(layer.canvas, fit.left + area.x * scaleX, fit.top + area.y * scaleY, area.width * scaleX, area.height * scaleY);
  }

  /**
   * Paint what `fill` draws, where any of the masks is.
   * @param {Layer[]} layers
   * @param {[number, number, number, number]} whole
   * @param {(inside: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, size: import("./engine.js").Size) => void} fill
   */
  #union(layers, whole, fill) {
    const { size } = layers[0];
    const canvas = new OffscreenCanvas(size.width, size.height);
    const context = contextOf(canvas);
    for (const layer of layers) if (!layer.isEmpty) context.drawImage(layer.canvas, layer.area.x, layer.area.y);
    context.globalCompositeOperation = "source-in";
    fill(context, size);
    this.#smooth(whole[2] / size.width);
    this.context.drawImage(canvas, ...whole);
  }

  /** @param {[number, number, number, number]} area */
  #checkerboard([left, top, width, height]) {
    const { context } = this;
    const style = getComputedStyle(this.canvas);
    const tile = new OffscreenCanvas(20, 20);
    const paint = contextOf(tile);
    paint.fillStyle = style.getPropertyValue("--checker-b");
    paint.fillRect(0, 0, 20, 20);
    paint.fillStyle = style.getPropertyValue("--checker-a");
    paint.fillRect(0, 0, 10, 10);
    paint.fillRect(10, 10, 10, 10);
    context.fillStyle = context.createPattern(tile, "repeat") ?? "#ddd";
    context.save();
    context.translate(left, top);
    context.fillRect(0, 0, width, height);
    context.restore();
  }

  /** @param {Layer} layer @param {Fit} fit */
  #outline(layer, fit) {
    const { context } = this;
    const scale = (fit.scale * fit.width) / layer.size.width;
    context.save();
    context.translate(fit.left, fit.top);
    context.scale(scale, (fit.scale * fit.height) / layer.size.height);
    context.lineJoin = "round";
    context.strokeStyle = INK;
    context.lineWidth = 3.6 / scale;
    context.stroke(layer.path);
    context.strokeStyle = `rgb(${layer.color.join(" ")})`;
    context.lineWidth = 1.8 / scale;
    context.stroke(layer.path);
    context.restore();
  }

  /** @param {Fit} fit @param {number} x @param {number} y @param {number} label */
  #point(fit, x, y, label) {
    const { context } = this;
    const place = placeOf(fit, x, y);
    const disc = (/** @type {number} */ radius, /** @type {string} */ color) => {
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

  /** @param {Fit} fit @param {Place} from @param {Place} to */
  #live(fit, from, to) {
    const box = boxBetween(from, to);
    if (box) this.#box(fit, box, true);
  }

  /** @param {Fit} fit @param {import("./prompt.js").Box} box @param {boolean} live */
  #box(fit, [x1, y1, x2, y2], live) {
    const from = placeOf(fit, x1, y1);
    const to = placeOf(fit, x2, y2);
    this.#stroke((context) => context.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y), live ? [6, 4] : []);
  }

  /** @param {Fit} fit @param {Place} pixel */
  #crosshair(fit, pixel) {
    const { x, y } = placeOf(fit, pixel.x, pixel.y);
    this.#stroke((context) => {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx, y + 4 * dy);
        context.lineTo(x + 16 * dx, y + 16 * dy);
      }
      context.stroke();
    }, []);
  }

  /** Draw white lines with a dark border. @param {(context: CanvasRenderingContext2D) => void} draw @param {number[]} dash */
  #stroke(draw, dash) {
    const { context } = this;
    context.lineJoin = "round";
    context.setLineDash([]);
    context.strokeStyle = INK;
    context.lineWidth = 4;
    draw(context);
    context.strokeStyle = "#fff";
    context.lineWidth = 2;
    context.setLineDash(dash);
    draw(context);
    context.setLineDash([]);
  }
}

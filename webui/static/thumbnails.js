// Thumbnails of masks, cropped to the mask. They are drawn after the page was painted, a few at a time.

import { contextOf } from "./masks.js";

/** @typedef {import("./masks.js").Layer} Layer */

const SIDE = 112; // pixels
const MARGIN = 0.15; // of the mask's longer side
const SLICE = 8; // milliseconds of drawing at a time

/** @type {Map<HTMLCanvasElement, { layer: Layer, bitmap: ImageBitmap }>} */
const waiting = new Map();
/** @type {WeakMap<HTMLCanvasElement, Layer>} */
const drawn = new WeakMap();
let scheduled = false;

/** Draw a mask into a canvas soon. @param {HTMLCanvasElement} canvas @param {Layer} layer @param {ImageBitmap} bitmap the image */
export function drawSoon(canvas, layer, bitmap) {
  if (drawn.get(canvas) === layer) return;
  drawn.set(canvas, layer);
  waiting.set(canvas, { layer, bitmap });
  schedule();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    const start = performance.now();
    for (const [canvas, { layer, bitmap }] of waiting) {
      waiting.delete(canvas);
      if (canvas.isConnected) draw(canvas, layer, bitmap);
      if (performance.now() - start > SLICE) break;
    }
    if (waiting.size) schedule();
  });
}

/** @param {HTMLCanvasElement} canvas @param {Layer} layer @param {ImageBitmap} bitmap */
function draw(canvas, layer, bitmap) {
  const { area, size } = layer;
  const margin = Math.max(2, MARGIN * Math.max(area.width, area.height));
  const side = Math.max(area.width, area.height, 1) + 2 * margin;
  const left = area.x + area.width / 2 - side / 2;
  const top = area.y + area.height / 2 - side / 2;
  canvas.width = canvas.height = SIDE;
  const context = contextOf(canvas);
  const scale = SIDE / side;
  context.globalAlpha = 0.5;
  const ratio = bitmap.width / size.width;
  context.drawImage(bitmap, left * ratio, top * ratio, side * ratio, side * ratio, 0, 0, SIDE, SIDE);
  if (layer.isEmpty) return;
  const mask = new OffscreenCanvas(SIDE, SIDE); // the image inside the mask, at full strength
  const inside = contextOf(mask);
  inside.drawImage(layer.canvas, (area.x - left) * scale, (area.y - top) * scale, area.width * scale, area.height * scale);
  context.globalAlpha = 1;
  context.drawImage(mask, 0, 0);
  inside.globalCompositeOperation = "source-in";
  inside.drawImage(bitmap, left * ratio, top * ratio, side * ratio, side * ratio, 0, 0, SIDE, SIDE);
  context.globalAlpha = 0.62;
  context.drawImage(mask, 0, 0);
}

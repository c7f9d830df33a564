// What the canvas shows in a state: layers, outlines and marks. Layers are made once for each mask and color.

import { bySize, indexMap, Layer, paintAll } from "./masks.js";
import { NOTHING } from "./prompt.js";
import { colorOf, isDecoded, maskOf } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./engine.js").Size} Size */
/** @typedef {import("./engine.js").Color} Color */
/** @typedef {import("./engine.js").Run} Run */

const MOST_OUTLINES = 150; // more would hide the image
const MOST_LAYERS = 64; // kept of candidates and previews

/**
 * @typedef {object} Scene
 * @property {{ layer: Layer, alpha: number }[]} fills over the image
 * @property {{ canvas: OffscreenCanvas, alpha: number } | null} all segments in one canvas, below the fills
 * @property {Layer[]} shapes what the views "mask" and "cut-out" show
 * @property {Layer[]} outlines
 * @property {import("./prompt.js").Point[]} points
 * @property {import("./prompt.js").Box | null} box
 */

/** @type {Map<string, Layer>} */
const recent = new Map();
/** @type {WeakMap<object, Layer>} */
const kept = new WeakMap();
/** @type {WeakMap<Run, { layers: Layer[], all: OffscreenCanvas, map: Uint16Array, size: Size }>} */
const runs = new WeakMap();

/** Return the layer of a candidate mask. @param {string} rle @param {Size} size @param {Color} color */
export function layerOf(rle, size, color) {
  const key = `${color.join()} ${rle}`;
  let layer = recent.get(key);
  if (!layer) {
    layer = new Layer(rle, size, color);
    if (recent.size >= MOST_LAYERS) recent.delete(/** @type {string} */ (recent.keys().next().value));
    recent.set(key, layer);
  }
  return layer;
}

/** Return the layer of an object of the list. @param {import("./state.js").Kept} object @param {Size} size */
export function layerOfKept(object, size) {
  let layer = kept.get(object.mask);
  if (!layer || layer.color !== object.color) kept.set(object.mask, (layer = new Layer(object.mask.rle, size, object.color)));
  return layer;
}

/** Return the layers of a run, one canvas of all of them, and the segment at each pixel. @param {Run} run @param {Size} size */
export function layersOfRun(run, size) {
  let made = runs.get(run);
  if (!made) {
    const layers = run.segments.map(({ rle, color }) => new Layer(rle, size, color));
    const all = paintAll(bySize(layers).map((index) => layers[index]), size);
    runs.set(run, (made = { layers, all, map: indexMap(layers, size), size }));
  }
  return made;
}

/** Return the segment at a pixel of the image, or null. @param {State} state @param {import("./viewport.js").Place | null} pixel */
export function segmentAt({ run, image }, pixel) {
  if (!pixel || !run?.segments.length || !image) return null;
  const { shown } = image;
  const x = Math.min(shown.width - 1, Math.floor(((pixel.x + 0.5) * shown.width) / image.width));
  const y = Math.min(shown.height - 1, Math.floor(((pixel.y + 0.5) * shown.height) / image.height));
  const index = layersOfRun(run, shown).map[y * shown.width + x] - 1;
  return index < 0 ? null : index;
}

/** Return what the canvas shows. @param {State} state @returns {Scene} */
export function sceneOf(state) {
  return state.tab === "everything" ? sceneOfRun(state) : sceneOfPrompt(state);
}

/** @param {State} state @returns {Scene} */
function sceneOfPrompt(state) {
  const { image, doc, preview, opacity } = state;
  if (!image) return { fills: [], all: null, shapes: [], outlines: [], points: [], box: null };
  const objects = doc.objects.filter(({ id }) => id !== doc.editing).map((object) => ({ object, layer: layerOfKept(object, image.shown) }));
  const fills = objects.map(({ object, layer }) => ({ layer, alpha: object.id === state.pointedObject ? Math.min(1, opacity + 0.25) : opacity }));
  const outlines = objects.map(({ layer }) => layer);
  const mask = maskOf(state);
  const edited = doc.objects.find(({ id }) => id === doc.editing);
  if (mask) {
    const layer = layerOf(mask.rle, image.shown, colorOf(state));
    fills.push({ layer, alpha: isDecoded(state) ? opacity : opacity * 0.7 });
    outlines.push(layer);
  } else if (edited && doc.prompt !== NOTHING) {
    const layer = layerOfKept(edited, image.shown); // until its masks are there
    fills.push({ layer, alpha: opacity });
    outlines.push(layer);
  } else if (preview !== null) {
    const layer = layerOf(preview, image.shown, colorOf(state));
    fills.push({ layer, alpha: opacity * 0.45 });
    outlines.push(layer);
  }
  return { fills, all: null, shapes: outlines, outlines, points: doc.prompt.points, box: doc.prompt.box };
}

/** @param {State} state @returns {Scene} */
function sceneOfRun(state) {
  const { run, image, selected, pointed, look, opacity } = state;
  const nothing = { fills: [], all: null, shapes: [], outlines: [], points: [], box: null };
  if (!image || !run?.segments.length) return nothing;
  const { layers, all } = layersOfRun(run, image.shown);
  const marked = pointed === null || selected.includes(pointed) ? selected : [...selected, pointed];
  const chosen = marked.filter((index) => index < layers.length).map((index) => layers[index]);
  const shapes = (selected.length ? selected.filter((index) => index < layers.length).map((index) => layers[index]) : layers);
  const many = layers.length > MOST_OUTLINES;
  if (look === "outline") return { ...nothing, shapes, outlines: chosen.length ? chosen : layers };
  return {
    ...nothing,
    fills: chosen.map((layer) => ({ layer, alpha: opacity })),
    all: { canvas: all, alpha: chosen.length ? opacity * 0.45 : opacity },
    shapes,
    outlines: chosen.length ? chosen : many ? [] : layers,
  };
}

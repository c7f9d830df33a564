// Where the image lies in the view: a fit is its scale and its upper left corner, in CSS pixels.

/**
 * @typedef {import("./engine.js").Size} Size
 * @typedef {import("./engine.js").Area} Area
 * @typedef {{ x: number, y: number }} Place
 * @typedef {{ scale: number, left: number, top: number, width: number, height: number }} Fit width and height are the image's
 * @typedef {{ scale: number, x: number, y: number } | null} Viewport
 *   the scale, and the position in the image that is in the middle of the view; null shows the whole image
 */

const MOST_ENLARGED = 3; // times a small image is enlarged to fill the view
const LEAST_SIDE = 256; // CSS pixels, to which a tiny image is enlarged with any scale
const MOST_SCALE = 16; // CSS pixels a pixel of the image, or four times the whole image

/** Return the fit of the whole image, centered. @param {Size} view @param {Size} image @returns {Fit} */
export function fitWhole(view, image) {
  const most = Math.max(MOST_ENLARGED, LEAST_SIDE / Math.max(image.width, image.height));
  const scale = Math.min(view.width / image.width, view.height / image.height, most);
  return centered(view, image, scale, image.width / 2, image.height / 2);
}

/** Return the fit of a viewport. @param {Size} view @param {Size} image @param {Viewport} viewport @returns {Fit} */
export function fitOf(view, image, viewport) {
  return viewport ? centered(view, image, viewport.scale, viewport.x, viewport.y) : fitWhole(view, image);
}

/** @param {Size} view @param {Size} image @param {number} scale @param {number} x @param {number} y @returns {Fit} */
function centered(view, image, scale, x, y) {
  const snap = Number.isInteger(scale) ? Math.round : (/** @type {number} */ place) => place; // pixels on pixels are sharp
  return { scale, left: snap(view.width / 2 - x * scale), top: snap(view.height / 2 - y * scale), width: image.width, height: image.height };
}

/**
 * Return the viewport after a zoom by a factor, with the same pixel of the image at a place of the view.
 * @param {Size} view @param {Size} image @param {Viewport} viewport @param {number} factor @param {Place} at
 * @returns {Viewport}
 */
export function zoomed(view, image, viewport, factor, at) {
  const fit = fitOf(view, image, viewport);
  return zoomedTo(view, image, viewport, fit.scale * factor, at);
}

/**
 * Return the viewport with a scale, with the same pixel of the image at a place of the view.
 * @param {Size} view @param {Size} image @param {Viewport} viewport @param {number} wanted @param {Place} at
 * @returns {Viewport}
 */
export function zoomedTo(view, image, viewport, wanted, at) {
  const fit = fitOf(view, image, viewport);
  const whole = fitWhole(view, image).scale;
  const scale = Math.min(wanted, Math.max(MOST_SCALE, 4 * whole));
  if (scale <= whole * 1.001) return null;
  const x = (at.x - fit.left) / fit.scale + (view.width / 2 - at.x) / scale;
  const y = (at.y - fit.top) / fit.scale + (view.height / 2 - at.y) / scale;
  return within(view, image, { scale, x, y });
}

/** Return the viewport moved by CSS pixels. @param {Size} view @param {Size} image @param {Viewport} viewport @param {number} dx @param {number} dy @returns {Viewport} */
export function panned(view, image, viewport, dx, dy) {
  if (!viewport) return null;
  return within(view, image, { ...viewport, x: viewport.x - dx / viewport.scale, y: viewport.y - dy / viewport.scale });
}

/** Return the viewport moved so far that a pixel is in the view. @param {Size} view @param {Size} image @param {Viewport} viewport @param {Place} pixel @returns {Viewport} */
export function showing(view, image, viewport, pixel) {
  if (!viewport) return null;
  const margin = 40; // CSS pixels from the border
  const place = placeOf(fitOf(view, image, viewport), pixel.x, pixel.y);
  const off = (/** @type {number} */ at, /** @type {number} */ size) => Math.min(0, size - margin - at) + Math.max(0, margin - at);
  return panned(view, image, viewport, off(place.x, view.width), off(place.y, view.height));
}

/** Return a viewport that shows as much of the image as it can. @param {Size} view @param {Size} image @param {{ scale: number, x: number, y: number }} viewport */
function within(view, image, { scale, x, y }) {
  const clamp = (/** @type {number} */ center, /** @type {number} */ seen, /** @type {number} */ size) =>
    seen >= size ? size / 2 : Math.min(Math.max(center, seen / 2), size - seen / 2);
  return { scale, x: clamp(x, view.width / scale, image.width), y: clamp(y, view.height / scale, image.height) };
}

/** Return the pixel at a position in the view, or null outside the image. @param {Fit} fit @param {Place} at @returns {Place | null} */
export function pixelAt(fit, { x, y }) {
  const column = Math.floor((x - fit.left) / fit.scale);
  const row = Math.floor((y - fit.top) / fit.scale);
  return column >= 0 && row >= 0 && column < fit.width && row < fit.height ? { x: column, y: row } : null;
}

/** Return the pixel nearest to a position in the view. @param {Fit} fit @param {Place} at @returns {Place} */
export function nearestPixel(fit, { x, y }) {
  return {
    x: Math.min(Math.max(Math.floor((x - fit.left) / fit.scale), 0), fit.width - 1),
    y: Math.min(Math.max(Math.floor((y - fit.top) / fit.scale), 0), fit.height - 1),
  };
}

/** Return the position in the view of the center of a pixel. @param {Fit} fit @param {number} x @param {number} y @returns {Place} */
export function placeOf(fit, x, y) {
  return { x: fit.left + (x + 0.5) * fit.scale, y: fit.top + (y + 0.5) * fit.scale };
}

/** Return the box between two pixels, or null if it has no area. @param {Place} a @param {Place} b @returns {import("./prompt.js").Box | null} */
export function boxBetween(a, b) {
  if (a.x === b.x || a.y === b.y) return null;
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}

/**
 * Return the part of the image to fetch in full resolution, or null if the preview is sharp enough.
 * @param {Size} view @param {Size} image @param {Viewport} viewport @param {Size} shown @param {number} ratio device pixels a CSS pixel
 * @returns {Area | null}
 */
export function cropOf(view, image, viewport, shown, ratio) {
  const fit = fitOf(view, image, viewport);
  if (shown.width >= image.width || fit.scale * ratio <= 1.05 * (shown.width / image.width)) return null;
  const margin = 0.15; // of the view, so that a small movement needs no other crop
  const x = Math.max(0, Math.floor((-fit.left - margin * view.width) / fit.scale));
  const y = Math.max(0, Math.floor((-fit.top - margin * view.height) / fit.scale));
  const right = Math.min(image.width, Math.ceil(((1 + margin) * view.width - fit.left) / fit.scale));
  const bottom = Math.min(image.height, Math.ceil(((1 + margin) * view.height - fit.top) / fit.scale));
  return right > x && bottom > y ? { x, y, width: right - x, height: bottom - y } : null;
}

/**
 * Return whether a crop, with its scale, shows an area as sharply as wanted. It may lack some of the area's margin.
 * @param {Area} crop @param {number} scale @param {Area} area @param {number} wanted
 */
export function shows(crop, scale, area, wanted) {
  const [dx, dy] = [0.08 * area.width, 0.08 * area.height];
  return scale >= 0.99 * wanted
    && crop.x <= (area.x ? area.x + dx : 0) && crop.x + crop.width >= area.x + area.width - dx
    && crop.y <= (area.y ? area.y + dy : 0) && crop.y + crop.height >= area.y + area.height - dy;
}

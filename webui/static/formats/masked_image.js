// What the formats say about a mask, see mobilesam/formats/masked_image.py.

import { boxOf } from "../model/rle.js";

/** @typedef {import("../model/geometry.js").Size} Size */
/** @typedef {import("./saving.js").SavedMask} SavedMask */
/** @typedef {Size & { name: string, masks: SavedMask[] }} MaskedImage */

export const OBJECT = "object"; // the label of what has none

/** @param {SavedMask} mask */
export function labelOf({ label }) {
  return label || OBJECT;
}

/** Return the labels of all masks in the order in which they first appear. @param {SavedMask[]} masks */
export function labelsOf(masks) {
  return [...new Set(masks.map(labelOf))];
}

/** Return a score as the formats write it, with 4 decimals. @param {number | null} score */
export function known(score) {
  return score === null || Number.isNaN(score) ? null : Number(decimals(score, 4));
}

/** Return what only some masks have. @param {SavedMask} mask @returns {{ confidence?: number | null }} */
export function detailsOf({ confidence }) {
  return confidence === null ? {} : { confidence: known(confidence) };
}

/** Return COCO's bounding box: x, y, width, height. @param {SavedMask} mask @param {Size} size of the image */
export function pixelBox({ boundaries }, { height }) {
  if (!boundaries.length) return [0, 0, 0, 0];
  const [x1, y1, x2, y2] = boxOf(boundaries, height);
  return [x1, y1, x2 - x1 + 1, y2 - y1 + 1];
}

/** Return a number with this many decimals; ties are rounded to even as in Python. @param {number} value @param {number} digits */
export function decimals(value, digits) {
  // A tie has one binary digit more than the decimals; then the product is exact.
  const isExact = Number.isInteger(value * 2 ** (digits + 1));
  return (isExact ? roundEven(value * 10 ** digits) / 10 ** digits : value).toFixed(digits);
}

/** Round to the next whole number, to an even one if two are equally near. @param {number} value */
export function roundEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

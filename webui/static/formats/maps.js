// PNG files of masks, see mobilesam/formats/png.py: a binary mask, maps of all masks, and the masked part of an image.

import { refused } from "../model/errors.js";
import { areaOf, boxOf, windowOf } from "../model/rle.js";
import { palette } from "./palette.js";
import { encodePng } from "./png.js";

/** @typedef {import("../model/resize.js").Rows} Rows */
/** @typedef {import("../model/geometry.js").Size} Size */
/** @typedef {import("./saving.js").SavedMask} SavedMask */

/** Return what lies in any of the masks as an 8-bit gray PNG of 0 and 255. @param {SavedMask[]} masks @param {Size} size */
export function maskPng(masks, size) {
  const map = new MaskMap(masks, size);
  const white = (/** @type {number} */ number) => (number ? 255 : 0);
  return encodePng(size, "gray", (top, count) => new Uint8Array(map.rows(top, count).map(white)));
}

/** Return what lies in any of the masks as an RGBA PNG; elsewhere all channels are 0. @param {SavedMask[]} masks @param {Rows} image */
export function cutoutPng(masks, image) {
  const map = new MaskMap(masks, image);
  return encodePng(image, "rgba", (top, count) => {
    const rgb = image.rows(top, count);
    const rgba = new Uint8Array(4 * image.width * count);
    map.rows(top, count).forEach((number, index) => {
      if (!number) return;
      for (let channel = 0; channel < 3; channel++) rgba[4 * index + channel] = rgb[3 * index + channel];
      rgba[4 * index + 3] = 255;
    });
    return rgba;
  });
}

/** Return a map of at most 255 masks with the colors of the overlay. @param {SavedMask[]} masks @param {Size} size */
export function indexedPng(masks, size) {
  refuseMany(masks, 255, "write the 16-bit map instead");
  const map = new MaskMap(masks, size);
  const colors = Uint8Array.from([0, 0, 0, ...palette(255).flat()]);
  return encodePng(size, "indexed", (top, count) => new Uint8Array(map.rows(top, count)), colors);
}

/** Return a map of at most 65535 masks as a 16-bit gray PNG. @param {SavedMask[]} masks @param {Size} size */
export function instancesPng(masks, size) {
  refuseMany(masks, 65535, "keep fewer");
  const map = new MaskMap(masks, size);
  return encodePng(size, "gray16", (top, count) => {
    const numbers = map.rows(top, count);
    const bytes = new Uint8Array(2 * numbers.length);
    const view = new DataView(bytes.buffer);
    numbers.forEach((number, index) => view.setUint16(2 * index, number));
    return bytes;
  });
}

/** The number of the mask of each pixel, 0 for none. Smaller masks lie on top of larger ones. */
class MaskMap {
  #masks;
  #size;

  /** @param {SavedMask[]} masks @param {Size} size */
  constructor(masks, size) {
    this.#size = size;
    this.#masks = masks.map(({ boundaries }, index) => (
      { boundaries, number: index + 1, area: areaOf(boundaries), box: boxOf(boundaries, size.height) }
    ));
    this.#masks.sort((a, b) => b.area - a.area);
  }

  /** @param {number} top @param {number} count */
  rows(top, count) {
    const { width, height } = this.#size;
    const numbers = new Uint16Array(width * count);
    for (const { boundaries, number, area, box: [x1, y1, x2, y2] } of this.#masks) {
      const [first, last] = [Math.max(top, y1), Math.min(top + count, y2 + 1)];
      if (!area || first >= last) continue;
      const window = windowOf(boundaries, height, [x1, first, x2 + 1, last]);
      const columns = x2 + 1 - x1;
      for (let index = 0, y = first; y < last; y++) {
        for (let place = (y - top) * width + x1, end = place + columns; place < end; place++) {
          if (window[index++]) numbers[place] = number;
        }
      }
    }
    return numbers;
  }
}

/** @param {SavedMask[]} masks @param {number} limit @param {string} remedy */
function refuseMany(masks, limit, remedy) {
  if (masks.length > limit) throw refused("the masks of a map", `be at most ${limit}`, masks.length, remedy);
}

// Removal of small holes and islands of masks, see mobilesam/masks/regions.py.

import { boundariesOf, boxOf, windowOf } from "./rle.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./rle.js").Boundaries} Boundaries */

/**
 * Fill holes, and then remove islands, of fewer pixels than `least`. Pixels that touch at corners are connected. The
 * largest island is kept, however small it is.
 * @param {Boundaries} boundaries @param {Size} size of the image @param {number} least
 * @returns {{ boundaries: Boundaries, changed: boolean }}
 */
export function clean(boundaries, { width, height }, least) {
  const box = boxOf(boundaries, height);
  // The window has a margin of one pixel, which connects the background around the mask. On a side where all of the image
  // beyond the mask has less than `least` pixels and might be a hole, the window extends to the edge of the image.
  const x1 = box[0] * height < least ? 0 : box[0] - 1;
  const y1 = box[1] * width < least ? 0 : box[1] - 1;
  const x2 = (width - box[2] - 1) * height < least ? width : box[2] + 2;
  const y2 = (height - box[3] - 1) * width < least ? height : box[3] + 2;
  const window = windowOf(boundaries, height, [x1, y1, x2, y2]);
  const columns = x2 - x1;
  const continues = (/** @type {number} */ pixel) => {
    const [x, y] = [pixel % columns, Math.floor(pixel / columns)];
    return (x === 0 && x1 > 0) || (x === columns - 1 && x2 < width) || (y === 0 && y1 > 0) || (y === y2 - y1 - 1 && y2 < height);
  };
  // Background that touches the margin continues outside of the window and is no hole.
  const holes = partsOf(window, columns, 0);
  const open = new Set();
  holes.labels.forEach((label, pixel) => {
    if (label && continues(pixel)) open.add(label);
  });
  const filled = flip(window, holes, (label) => holes.sizes[label] < least && !open.has(label));
  const islands = partsOf(window, columns, 1);
  const largest = islands.sizes.indexOf(Math.max(...islands.sizes));
  flip(window, islands, (label) => islands.sizes[label] < least && label !== largest);
  const isSmall = islands.sizes.some((size, label) => label > 0 && size < least); // the largest one counts, too
  return filled || isSmall ? { boundaries: boundariesOf(window, [x1, y1, x2, y2], height), changed: true } : { boundaries, changed: false };
}

/** Flip the pixels of some parts, and return whether there are any. @param {Uint8Array} window @param {Parts} parts @param {(label: number) => boolean} isChosen */
function flip(window, { labels, sizes }, isChosen) {
  const chosen = sizes.map((_, label) => label > 0 && isChosen(label));
  if (!chosen.includes(true)) return false;
  labels.forEach((label, pixel) => {
    if (chosen[label]) window[pixel] ^= 1;
  });
  return true;
}

/**
 * The connected parts of a mask.
 * @typedef {object} Parts
 * @property {Int32Array} labels of each pixel, 0 outside of the mask
 * @property {number[]} sizes by label, 0 for the label 0
 */

/** Return the connected parts of the pixels of a value. @param {Uint8Array} window @param {number} width @param {number} value @returns {Parts} */
export function partsOf(window, width, value) {
  const labels = new Int32Array(window.length);
  const sizes = [0];
  const stack = new Int32Array(window.length);
  for (let seed = 0; seed < window.length; seed++) {
    if (window[seed] !== value || labels[seed]) continue;
    const label = sizes.length;
    let [waiting, size] = [0, 0];
    stack[waiting++] = seed;
    labels[seed] = label;
    while (waiting) {
      const pixel = stack[--waiting];
      size++;
      const x = pixel % width;
      for (const dy of [-width, 0, width]) {
        for (let dx = x > 0 ? -1 : 0; dx <= (x < width - 1 ? 1 : 0); dx++) {
          const near = pixel + dy + dx;
          if (near < 0 || near >= window.length || window[near] !== value || labels[near]) continue;
          labels[near] = label;
          stack[waiting++] = near;
        }
      }
    }
    sizes.push(size);
  }
  return { labels, sizes };
}

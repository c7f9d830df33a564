// The learned chooser of a box: the IoU to expect of each of the four masks, see mobilesam/masks/box_chooser.py.

import { clickFeatures, clip, LOGIT } from "./chooser.js";
import { LOGITS_SIZE, MASK_THRESHOLD } from "./geometry.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./geometry.js").Box} Box */

const LARGEST_DIFFERENCE = 2;

/** Return the features of the masks of a box. @param {Float32Array[]} logits @param {number[]} ious @param {Box} corners in the model frame @param {Size} input the image in the model frame */
export function boxFeatures(logits, ious, corners, input) {
  const [x1, y1, x2, y2] = corners;
  const ofMasks = clickFeatures(logits, ious, [(x1 + x2) / 2, (y1 + y2) / 2], input);
  const size = { width: Math.ceil(input.width / LOGIT), height: Math.ceil(input.height / LOGIT) };
  const box = corners.map((value) => clip((value + 0.5) / LOGIT - 0.5, 0, LOGITS_SIZE - 1));
  return [...ofMasks, ...logits.flatMap((mask) => fit(mask, size, box))];
}

/** Return the fit of a mask to a box. @param {Float32Array} logits @param {Size} size @param {number[]} box in logits */
function fit(logits, { width, height }, [x1, y1, x2, y2]) {
  const covers = (/** @type {number} */ place, /** @type {number} */ low, /** @type {number} */ high) => place >= low - 0.5 && place <= high + 0.5;
  const across = Array.from({ length: LOGITS_SIZE }, (_, place) => covers(place, x1, x2));
  const down = Array.from({ length: LOGITS_SIZE }, (_, place) => covers(place, y1, y2));
  let [area, inside, left, top, right, bottom] = [0, 0, Infinity, Infinity, -1, -1];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (!(logits[row * LOGITS_SIZE + column] > MASK_THRESHOLD)) continue;
      area++;
      if (down[row] && across[column]) inside++;
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = row;
    }
  }
  const size = down.filter(Boolean).length * across.filter(Boolean).length;
  const shares = [inside / Math.max(area, 1), inside / Math.max(size, 1)];
  if (!area) return [...shares, 0, 0, 0, 0, 0];
  const own = [left - 0.5, top - 0.5, right + 0.5, bottom + 0.5];
  const shared = Math.max(Math.min(own[2], x2) - Math.max(own[0], x1), 0) * Math.max(Math.min(own[3], y2) - Math.max(own[1], y1), 0);
  const areas = (own[2] - own[0]) * (own[3] - own[1]) + (x2 - x1) * (y2 - y1);
  const sides = [Math.max(x2 - x1, 1), Math.max(y2 - y1, 1)];
  const edges = own.map((edge, index) => clip((edge - [x1, y1, x2, y2][index]) / sides[index % 2], -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE));
  return [...shares, shared / Math.max(areas - shared, 1), ...edges];
}

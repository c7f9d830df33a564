// Boxes of masks, see mobilesam/masks/boxes.py. The arithmetic is float32, as in torchvision.

/** @typedef {import("./geometry.js").Box} Box */

const { fround, min, max } = Math;

/** Return the IoU of two boxes; 1 for equal boxes, even without area. @param {Box} first @param {Box} second */
export function boxIou(first, second) {
  const [width, height] = [0, 1].map((axis) => max(fround(min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis])), 0));
  const shared = fround(width * height);
  const together = fround(fround(area(first) + area(second)) - shared);
  return together > 0 ? fround(shared / together) : Number(first.every((side, index) => side === second[index]));
}

/** @param {Box} box */
function area([x1, y1, x2, y2]) {
  return fround(fround(x2 - x1) * fround(y2 - y1));
}

/** Return the indices of boxes to keep, best score first; equal scores keep their order. A box is removed when its IoU with a kept one is above the threshold. @param {Box[]} boxes @param {number[]} scores @param {number} threshold */
export function nms(boxes, scores, threshold) {
  /** @type {number[]} */
  const kept = [];
  for (const index of boxes.map((_, index) => index).sort((one, other) => scores[other] - scores[one])) {
    if (!kept.some((other) => boxIou(boxes[other], boxes[index]) > threshold)) kept.push(index);
  }
  return kept;
}

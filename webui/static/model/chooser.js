// The learned chooser: the IoU to expect of each of the four masks of one click, see mobilesam/masks/chooser.py.

import { IMAGE_SIZE, LOGITS_SIZE, MASK_THRESHOLD, MASKS } from "./geometry.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./geometry.js").Point} Point */

/**
 * The arrays of a chooser, float32 in row-major order.
 * @typedef {object} Learned
 * @property {Float32Array} mean
 * @property {Float32Array} scale
 * @property {Float32Array} hidden_weight
 * @property {Float32Array} hidden_bias
 * @property {Float32Array} output_weight
 * @property {Float32Array} output_bias
 * @property {Float32Array} linear_weight
 * @property {Float32Array} linear_bias
 */

const STEP = 2;
const OFFSETS = [1, 2, 4];
const DISKS = [0.25, 1, 4];
const LIMIT = 3;
const LARGEST_LOG_RATIO = 6;
const LARGEST_OFFSET = 4;
const LARGEST_DEPTH = 3;
const FAR = 1e9;
const ALL = Array.from({ length: MASKS }, (_, mask) => mask);
const PAIRS = ALL.flatMap((first) => ALL.slice(first + 1).map((second) => [first, second]));
const ORDERED_PAIRS = ALL.flatMap((first) => ALL.filter((second) => second !== first).map((second) => [first, second]));

export const LOGIT = IMAGE_SIZE / LOGITS_SIZE; // the side of a logit in pixels of the model frame

/** @param {number} value @param {number} low @param {number} high */
export function clip(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Return the expected IoUs of features: the mean of a network and of a linear function. @param {number[]} features @param {Learned} learned */
export function expectedIous(features, learned) {
  const standard = features.map((value, index) => clip((Math.fround(value) - learned.mean[index]) / learned.scale[index], -LIMIT, LIMIT));
  const hidden = product(standard, learned.hidden_weight, learned.hidden_bias).map((value) => Math.max(value, 0));
  const network = product(hidden, learned.output_weight, learned.output_bias).map((value) => 1 / (1 + Math.exp(-value)));
  const linear = product(standard, learned.linear_weight, learned.linear_bias).map((value) => clip(value, 0, 1));
  return network.map((value, mask) => (value + linear[mask]) / 2);
}

/** @param {number[]} values @param {Float32Array} weight @param {Float32Array} bias */
function product(values, weight, bias) {
  const sums = Array.from(bias);
  values.forEach((value, row) => {
    for (let column = 0; column < sums.length; column++) sums[column] += value * weight[row * sums.length + column];
  });
  return sums;
}

/** Return the features of the masks of a click. @param {Float32Array[]} logits @param {number[]} ious @param {Point} point in the model frame @param {Size} input the image in the model frame */
export function clickFeatures(logits, ious, point, input) {
  const rows = Math.ceil(Math.ceil(input.height / LOGIT) / STEP);
  const columns = Math.ceil(Math.ceil(input.width / LOGIT) / STEP);
  const sampled = logits.map((mask) => {
    const values = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) values[row * columns + column] = mask[STEP * (row * LOGITS_SIZE + column)];
    }
    return values;
  });
  const [x, y] = point.map((value) => ((clip(value, -IMAGE_SIZE, 2 * IMAGE_SIZE) + 0.5) / LOGIT - 0.5) / STEP);
  return features(sampled, ious.map((iou) => iou || 0), [x, y], { width: columns, height: rows });
}

/** @param {Float32Array[]} logits @param {number[]} ious @param {Point} click in `logits`, where the center of the first is (0, 0) @param {Size} size */
function features(logits, ious, click, size) {
  const shared = sharedAreas(logits);
  const area = ALL.map((mask) => Math.max(shared[mask][mask], 1));
  const iou = ALL.map((one) => ALL.map((other) => shared[one][other] / Math.max(area[one] + area[other] - shared[one][other], 1)));
  const agreement = ALL.map((one) => ALL.reduce((sum, other) => sum + iou[one][other] * ious[other], 0));
  const narrow = logits.map((values) => OFFSETS.map((offset) => countAbove(values, offset)));
  const wide = logits.map((values) => OFFSETS.map((offset) => Math.max(countAbove(values, -offset), 1)));
  const placed = ALL.map((mask) => placement(logits[mask], area[mask], click, size));
  return [
    ...withDistanceToBest(ious),
    ...PAIRS.map(([first, second]) => iou[first][second]),
    ...withDistanceToBest(agreement),
    ...ORDERED_PAIRS.map(([one, other]) => shared[one][other] / area[one]),
    ...PAIRS.map(([first, second]) => clip(Math.log(area[first]) - Math.log(area[second]), -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)),
    ...ALL.flatMap((mask) => OFFSETS.map((_, index) => narrow[mask][index] / wide[mask][index])),
    ...ALL.flatMap((mask) => [...narrow[mask].map((count) => count / area[mask]), ...wide[mask].map((count) => area[mask] / count)]),
    ...placed.flatMap(({ offset }) => offset.map((value) => Math.min(value, LARGEST_OFFSET))),
    ...placed.flatMap(({ depth }) => depth.map((value) => Math.min(value, LARGEST_DEPTH))),
    ...placed.flatMap(({ filled }) => filled),
  ];
}

/** Return the pixels that each two masks share. @param {Float32Array[]} logits */
export function sharedAreas(logits) {
  const counts = new Int32Array(2 ** logits.length); // of pixels, by the set of masks that they are in
  for (let pixel = 0; pixel < logits[0].length; pixel++) {
    let inside = 0;
    for (let mask = 0; mask < logits.length; mask++) if (logits[mask][pixel] > MASK_THRESHOLD) inside |= 1 << mask;
    counts[inside]++;
  }
  return logits.map((_, one) => logits.map((_, other) => {
    const both = (1 << one) | (1 << other);
    return counts.reduce((sum, count, inside) => ((inside & both) === both ? sum + count : sum), 0);
  }));
}

/** @param {Float32Array} values @param {number} threshold */
function countAbove(values, threshold) {
  let count = 0;
  for (const value of values) if (value > threshold) count++;
  return count;
}

/** Return where the click lies in a mask: distances to its center, to its border, and the filled shares of disks. @param {Float32Array} logits @param {number} area @param {Point} click @param {Size} size */
function placement(logits, area, [clickX, clickY], { width, height }) {
  const limits = DISKS.map((disk) => (disk * area) / Math.PI);
  const [disks, inside] = [limits.map(() => 0), limits.map(() => 0)];
  let [sumX, sumY, sumXX, sumYY, sumXY, nearest] = [0, 0, 0, 0, 0, FAR];
  for (let row = 0; row < height; row++) {
    const dy = row - clickY;
    for (let column = 0; column < width; column++) {
      const dx = column - clickX;
      const squared = dx * dx + dy * dy;
      const isInside = logits[row * width + column] > MASK_THRESHOLD;
      for (let disk = 0; disk < limits.length; disk++) {
        if (squared < limits[disk]) {
          disks[disk]++;
          if (isInside) inside[disk]++;
        }
      }
      if (!isInside) {
        if (squared < nearest) nearest = squared;
        continue;
      }
      sumX += dx;
      sumY += dy;
      sumXX += dx * dx;
      sumYY += dy * dy;
      sumXY += dx * dy;
    }
  }
  const [x, y] = [sumX / area, sumY / area];
  const xx = sumXX / area - x * x + 1 / 12;
  const yy = sumYY / area - y * y + 1 / 12;
  const xy = sumXY / area - x * y;
  const spread = Math.max((x * x * yy - 2 * x * y * xy + y * y * xx) / Math.max(xx * yy - xy * xy, 1 / 144), 0);
  const side = Math.sqrt(area);
  const reach = Math.sqrt(nearest);
  const edge = Math.max(Math.min(clickX + 1, clickY + 1, width - clickX, height - clickY), 0);
  const radius = side / Math.sqrt(Math.PI);
  return {
    offset: [Math.hypot(x, y) / side, Math.sqrt(spread)],
    depth: [Math.min(reach, edge) / radius, reach / radius],
    filled: DISKS.map((_, disk) => inside[disk] / Math.min(Math.max(disks[disk], 1), area)),
  };
}

/** @param {number[]} values */
function withDistanceToBest(values) {
  const best = Math.max(...values);
  return values.flatMap((value) => [value, best - value]);
}

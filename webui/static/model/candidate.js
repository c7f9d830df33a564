// A decoded mask, measured in the image, see mobilesam/masks/candidate.py.

import { areaOf, boxOf, Runs, toUncompressed } from "./rle.js";
import { eachLine, windowAbove } from "./upsampling.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./geometry.js").Point} Point */

/**
 * @typedef {object} Candidate
 * @property {Int32Array} boundaries of its runs, see rle.js
 * @property {Box} box of its outermost pixels, all inclusive
 * @property {number} predictedIou
 * @property {number} stability
 * @property {Point} point the prompt
 *
 * @typedef {object} MaskRecord one mask, with the keys of SAM's automatic mask generator
 * @property {import("./rle.js").UncompressedRle} segmentation
 * @property {number} area pixels
 * @property {[number, number, number, number]} bbox x, y, width, height; one pixel narrower and lower, as SAM's
 * @property {number} predicted_iou
 * @property {Point[]} point_coords
 * @property {number} stability_score the IoU of the masks at a higher and a lower threshold
 * @property {[number, number, number, number]} crop_box x, y, width, height
 */

/** Upsample one mask inside its own window, and return null if its stability is too low. @param {Float32Array} logits 256 x 256 @param {number} predictedIou @param {Frame} frame @param {Point} point @param {{ threshold: number, offset: number, minStability: number }} limits @returns {Candidate | null} */
export function measure(logits, predictedIou, frame, point, { threshold, offset, minStability }) {
  const { height } = frame.original;
  const window = windowAbove(logits, frame, threshold - offset);
  const [low, high] = [threshold - offset, threshold + offset];
  const runs = new Runs();
  let [certain, possible] = [0, 0];
  eachLine(logits, frame, window, "columns", (x, column) => {
    const position = x * height + window[1];
    let start = -1;
    for (let place = 0; place < column.length; place++) {
      const value = column[place];
      if (value > low) possible++;
      if (value > high) certain++;
      if (value > threshold) {
        if (start < 0) start = place;
      } else if (start >= 0) {
        runs.add(position + start, position + place);
        start = -1;
      }
    }
    if (start >= 0) runs.add(position + start, position + column.length);
  });
  const stability = possible ? Math.fround(certain / possible) : 0;
  if (stability < Math.fround(minStability)) return null;
  return { boundaries: Int32Array.from(runs.boundaries), box: boxOf(runs.boundaries, height), predictedIou, stability, point };
}

/** @param {Candidate} candidate @param {Size} size of the image @returns {MaskRecord} */
export function recordOf({ boundaries, box: [x1, y1, x2, y2], predictedIou, stability, point }, size) {
  return {
    segmentation: toUncompressed(boundaries, size),
    area: areaOf(boundaries),
    bbox: [x1, y1, x2 - x1, y2 - y1],
    predicted_iou: predictedIou,
    point_coords: [point],
    stability_score: stability,
    crop_box: [0, 0, size.width, size.height],
  };
}

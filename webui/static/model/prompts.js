// Prompts as the model takes them, see mobilesam/prompts/arrays.py: labeled points in the model frame.

import { refused } from "./errors.js";
import { LOGITS_SIZE, scaleOf } from "./geometry.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Frame} Frame */

/**
 * What `predict` takes, in pixels of the image.
 * @typedef {object} Prompt
 * @property {ArrayLike<number>[]} [points] x and y of each
 * @property {ArrayLike<number>} [labels] 1 for foreground, 0 for background, -1 for padding that is ignored
 * @property {ArrayLike<number>} [box] x1, y1, x2, y2
 * @property {Float32Array} [maskInput] 256 x 256 logits of an earlier prediction
 *
 * @typedef {object} ModelPrompt
 * @property {Float32Array<ArrayBuffer>} coords x and y of each point in the model frame
 * @property {Float32Array<ArrayBuffer>} labels
 * @property {Float32Array | undefined} maskInput
 */

export const PADDING = -1;
export const BOX_START = 2;
export const BOX_END = 3;

/** Return a prompt for the model. @param {Prompt} prompt @param {Frame} frame @returns {ModelPrompt} */
export function modelPrompt({ points, labels, box, maskInput }, frame) {
  checkPoints(points, labels);
  if (box) checkBox(box);
  if (maskInput && !(maskInput instanceof Float32Array && maskInput.length === LOGITS_SIZE ** 2)) {
    throw refused("maskInput", `be a Float32Array of ${LOGITS_SIZE} x ${LOGITS_SIZE}`, `length ${maskInput.length}`, "pass one of lowResLogits");
  }
  if (!points && !box && !maskInput) throw refused("a prompt", "have at least one of points, box and maskInput", "none", "pass one of them");
  const [scaleX, scaleY] = scaleOf(frame);
  const places = (points ?? []).map((point, index) => [point[0] * scaleX, point[1] * scaleY, Number(labels?.[index])]);
  if (points && !box) places.push([0, 0, PADDING]);
  if (box) places.push([box[0] * scaleX, box[1] * scaleY, BOX_START], [box[2] * scaleX, box[3] * scaleY, BOX_END]);
  return {
    coords: Float32Array.from(places.flatMap(([x, y]) => [x, y])),
    labels: Float32Array.from(places, ([, , label]) => label),
    maskInput,
  };
}

/** @param {Prompt["points"]} points @param {Prompt["labels"]} labels */
function checkPoints(points, labels) {
  if (!points && !labels) return;
  if (!points) throw refused("labels", "come with points", "no points", "pass both, or neither");
  if (!labels) throw refused("points", "come with labels", "no labels", "pass 1 for each foreground point and 0 for each background point");
  if (!Array.isArray(points) || !points.length || !points.every((point) => point?.length === 2)) {
    throw refused("points", "be a list of pairs", JSON.stringify(points), "pass [[x, y]] for one point");
  }
  checkFinite("points", points.flatMap((point) => [...Array.from(point)]));
  if (labels.length !== points.length) throw refused("labels", `have length ${points.length}`, labels.length, "pass one label for each point");
  const unknown = Array.from(labels).find((label) => ![1, 0, PADDING].includes(label));
  if (unknown !== undefined) throw refused("labels", "be 1, 0 or -1", unknown, "use 1 for foreground, 0 for background, -1 for padding; corners of a box go in box");
}

/** @param {ArrayLike<number>} box */
function checkBox(box) {
  if (box.length !== 4) throw refused("box", "have four numbers", box.length, "pass [x1, y1, x2, y2]");
  checkFinite("box", Array.from(box));
  if (box[0] < box[2] && box[1] < box[3]) return;
  throw refused("box", "have x1 < x2 and y1 < y2", `[${Array.from(box).join(", ")}]`, "pass the upper left corner first");
}

/** @param {string} name @param {number[]} values */
function checkFinite(name, values) {
  const faulty = values.find((value) => !Number.isFinite(Math.fround(value)));
  if (faulty !== undefined) throw refused(name, "be finite numbers", faulty, "remove it");
}

/** Return whether a prompt is one foreground point alone. @param {ModelPrompt} prompt */
export function isSinglePoint({ labels, maskInput }) {
  return !maskInput && labels[0] === 1 && labels.subarray(1).every((label) => label === PADDING);
}

/** Return whether a prompt is a box alone. @param {ModelPrompt} prompt */
export function isSingleBox({ labels, maskInput }) {
  return !maskInput && labels[0] === BOX_START && labels[1] === BOX_END && labels.subarray(2).every((label) => label === PADDING);
}

// Which of the four masks of a prompt to keep, see mobilesam/masks/selection.py.

import { boxFeatures } from "./box_chooser.js";
import { clickFeatures, expectedIous, sharedAreas } from "./chooser.js";
import { isSingleBox, isSinglePoint } from "./prompts.js";

/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./prompts.js").ModelPrompt} ModelPrompt */
/** @typedef {import("./chooser.js").Learned} Learned */

/**
 * What was learned on the weights of the model, if it was.
 * @typedef {{ point?: Learned, box?: Learned }} Choosers
 */

/** Return the index of the mask to keep. @param {number[] | null} confidences of {@link confidencesOf} @param {ModelPrompt} prompt @param {Float32Array[]} logits 256 x 256 for each mask @param {number[]} ious */
export function keptMask(confidences, prompt, logits, ious) {
  if (confidences) return highest(confidences);
  return isSinglePoint(prompt) ? mostAgreeing(logits, ious) : 0;
}

/** Return the IoU to expect of each mask, or null where it is not known. @param {Choosers} choosers @param {ModelPrompt} prompt @param {Float32Array[]} logits @param {number[]} ious @param {Frame} frame */
export function confidencesOf(choosers, prompt, logits, ious, { input }) {
  const [x1, y1, x2, y2] = prompt.coords;
  if (isSinglePoint(prompt) && choosers.point) return expectedIous(clickFeatures(logits, ious, [x1, y1], input), choosers.point);
  if (isSingleBox(prompt) && choosers.box) return expectedIous(boxFeatures(logits, ious, [x1, y1, x2, y2], input), choosers.box);
  return null;
}

/** Return the mask with the highest mean IoU with all masks, weighted by predicted IoU. @param {Float32Array[]} logits @param {number[]} ious */
function mostAgreeing(logits, ious) {
  const shared = sharedAreas(logits);
  return highest(shared.map((row, one) => row.reduce((sum, both, other) => (
    sum + (both / Math.max(shared[one][one] + shared[other][other] - both, 1)) * ious[other]
  ), 0)));
}

/** @param {number[]} values */
function highest(values) {
  return values.indexOf(Math.max(...values));
}

// The prompt of an object: points [x, y, label] and a box [x1, y1, x2, y2], in pixels of the original image.
//
// When a mask was chosen, the next mark turns the prompt into a step, and the chosen mask is fed back to the decoder.

/**
 * @typedef {[number, number, number]} Point
 * @typedef {[number, number, number, number]} Box
 * @typedef {object} Prompt
 * @property {Point[]} points label 1 marks the object, 0 the background
 * @property {Box | null} box
 * @property {Prompt[]} steps the earlier prompts whose chosen masks are fed back
 * @property {number | null} chosen the decoder's own index of the chosen mask
 */

export const MOST_POINTS = 256; // of a prompt, on the server
export const MOST_STEPS = 31;

/** @type {Prompt} */
export const NOTHING = { points: [], box: null, steps: [], chosen: null };

/** Return whether a prompt locates the object; background points alone do not. @param {Prompt} prompt */
export function hasObject({ points, box }) {
  return box !== null || points.some(([, , label]) => label === 1);
}

/** Return whether a prompt has any mark. @param {Prompt} prompt */
export function isMarked({ points, box }) {
  return points.length > 0 || box !== null;
}

/** Return a prompt with one point more. @param {Prompt} prompt @param {Point} point @returns {Prompt} */
export function withPoint(prompt, point) {
  return { ...following(prompt), points: [...prompt.points, point] };
}

/** Return a prompt with another box. @param {Prompt} prompt @param {Box} box @returns {Prompt} */
export function withBox(prompt, box) {
  return { ...following(prompt), box };
}

/** @param {Prompt} prompt @returns {Prompt} */
function following(prompt) {
  if (prompt.chosen === null) return prompt;
  const { points, box, chosen } = prompt;
  return { ...prompt, steps: [...prompt.steps, { points, box, chosen, steps: [] }], chosen: null };
}

// The frames of an image, as in mobilesam/geometry.py: the original pixels; the model frame, in which the longer side has
// 1024 pixels; and the low-resolution logits, 256 x 256 of the padded square.

/** @typedef {{ width: number, height: number }} Size */
/** @typedef {[number, number]} Point x, y */
/** @typedef {[number, number, number, number]} Box x1, y1, x2, y2 */

/**
 * The place of low-resolution logits on an image.
 * @typedef {object} Frame
 * @property {Size} original the image as given
 * @property {Size} input the image in the model frame, before padding
 */

export const IMAGE_SIZE = 1024;
export const GRID_SIZE = 64; // image tokens on a side of the square
export const LOGITS_SIZE = 256;
export const EMBED_DIM = 256;
export const MASKS = 4; // of a prompt: the single-mask output, then three multimask outputs
export const MASK_THRESHOLD = 0;
export const STABILITY_OFFSET = 1;

/** Return the frame of an image. @param {Size} original @returns {Frame} */
export function frameOf({ width, height }) {
  const scale = IMAGE_SIZE / Math.max(width, height);
  const side = (/** @type {number} */ length) => Math.max(1, Math.floor(length * scale + 0.5));
  return { original: { width, height }, input: { width: side(width), height: side(height) } };
}

/** Return the rows and columns of image tokens that the upsampled mask of an image depends on. @param {Size} input in the model frame */
export function coveredTokens({ width, height }) {
  const logit = IMAGE_SIZE / LOGITS_SIZE;
  const covered = (/** @type {number} */ side) => Math.min(GRID_SIZE, Math.floor(Math.trunc((side - 0.5) / logit + 0.5) / 4) + 1);
  return { rows: covered(height), columns: covered(width) };
}

/** Return the factors from pixels of the original image to the model frame. @param {Frame} frame @returns {Point} */
export function scaleOf({ original, input }) {
  return [input.width / original.width, input.height / original.height];
}

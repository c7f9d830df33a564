// Upsampling of mask logits on any window of the image, see mobilesam/masks/upsampling.py. SAM upsamples 256 x 256 logits
// in two bilinear steps, to the padded square and from its part to the image. Along one axis, a pixel is the weighted sum
// of at most three neighboring logits.

import { IMAGE_SIZE, LOGITS_SIZE } from "./geometry.js";

/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./geometry.js").Box} Box */

/**
 * Both bilinear steps along one axis.
 * @typedef {object} Axis
 * @property {Int32Array} first the first logit of each pixel
 * @property {Int32Array} last the last one of a weight that is not 0
 * @property {Float32Array} weights three for each pixel
 */

const TAPS = 3;

/** Return the neighbors and the fraction of each target pixel; the fractions are float32 as in PyTorch. @param {number} source @param {number} target */
function bilinear(source, target) {
  const scale = Math.fround(Math.fround(source) / Math.fround(target));
  const lower = new Int32Array(target);
  const upper = new Int32Array(target);
  const fraction = new Float32Array(target);
  for (let index = 0; index < target; index++) {
    const position = Math.max(0, Math.fround(Math.fround(Math.fround(index + 0.5) * scale) - 0.5));
    lower[index] = Math.min(Math.trunc(position), source - 1);
    upper[index] = Math.min(lower[index] + 1, source - 1);
    fraction[index] = position - lower[index];
  }
  return { lower, upper, fraction };
}

/** @type {Map<string, Axis>} */
const axes = new Map();
const KEPT = 16;

/** Return the axis of an image. @param {number} used pixels of the square that the image covers @param {number} original pixels of the image @returns {Axis} */
export function axisOf(used, original) {
  const key = `${used} ${original}`;
  const known = axes.get(key);
  if (known) return known;
  const square = bilinear(LOGITS_SIZE, IMAGE_SIZE);
  const { lower, upper, fraction } = bilinear(used, original);
  const first = new Int32Array(original);
  const last = new Int32Array(original);
  const weights = new Float32Array(TAPS * original);
  const exact = new Float64Array(TAPS);
  for (let pixel = 0; pixel < original; pixel++) {
    const start = Math.min(square.lower[lower[pixel]], LOGITS_SIZE - TAPS);
    exact.fill(0);
    for (const [place, share] of [[lower[pixel], 1 - fraction[pixel]], [upper[pixel], fraction[pixel]]]) {
      exact[square.lower[place] - start] += share * (1 - square.fraction[place]);
      exact[square.upper[place] - start] += share * square.fraction[place];
    }
    weights.set(exact, TAPS * pixel);
    const used = [0, 1, 2].filter((tap) => weights[TAPS * pixel + tap] !== 0);
    first[pixel] = start;
    last[pixel] = start + used[used.length - 1];
  }
  const axis = { first, last, weights };
  if (axes.size >= KEPT) axes.clear();
  axes.set(key, axis);
  return axis;
}

/** Return the axes of a frame. @param {Frame} frame */
function axesOf({ original, input }) {
  return { across: axisOf(input.width, original.width), down: axisOf(input.height, original.height) };
}

/**
 * Call `use(place, logits)` for each row, or each column, of a window of the upsampled logits. The array is used again.
 * @param {Float32Array} logits 256 x 256
 * @param {Frame} frame
 * @param {Box} window of the original image, x2 and y2 exclusive
 * @param {"rows" | "columns"} lines
 * @param {(place: number, line: Float32Array) => void} use
 */
export function eachLine(logits, frame, [x1, y1, x2, y2], lines, use) {
  if (x1 >= x2 || y1 >= y2) return;
  const { across, down } = axesOf(frame);
  const byRows = lines === "rows";
  const [along, other] = byRows ? [across, down] : [down, across];
  const [start, stop, from, to] = byRows ? [x1, x2, y1, y2] : [y1, y2, x1, x2];
  const [step, stride] = byRows ? [1, LOGITS_SIZE] : [LOGITS_SIZE, 1];
  const length = stop - start;
  const firstLine = other.first[from];
  const count = other.first[to - 1] + TAPS - firstLine;
  // The lines of logits that are used, upsampled along the line.
  const halfway = new Float32Array(count * length);
  for (let line = 0; line < count; line++) {
    const base = (firstLine + line) * stride;
    for (let place = 0; place < length; place++) {
      const pixel = start + place;
      const source = base + along.first[pixel] * step;
      const weight = TAPS * pixel;
      halfway[line * length + place] = along.weights[weight] * logits[source]
        + along.weights[weight + 1] * logits[source + step] + along.weights[weight + 2] * logits[source + 2 * step];
    }
  }
  const line = new Float32Array(length);
  for (let pixel = from; pixel < to; pixel++) {
    const [one, two, three] = other.weights.subarray(TAPS * pixel, TAPS * (pixel + 1));
    const base = (other.first[pixel] - firstLine) * length;
    for (let place = 0; place < length; place++) {
      line[place] = one * halfway[base + place] + two * halfway[base + length + place] + three * halfway[base + 2 * length + place];
    }
    use(pixel, line);
  }
}

/**
 * Return a window that contains all upsampled logits above a threshold; empty if there are none. An upsampled logit is a
 * weighted mean of its neighbors, so it does not exceed the largest of them.
 * @param {Float32Array} logits 256 x 256
 * @param {Frame} frame
 * @param {number} threshold
 * @returns {Box} x2 and y2 exclusive
 */
export function windowAbove(logits, frame, threshold) {
  let [left, top, right, bottom] = [LOGITS_SIZE, LOGITS_SIZE, -1, -1];
  for (let row = 0; row < LOGITS_SIZE; row++) {
    for (let column = 0; column < LOGITS_SIZE; column++) {
      if (!(logits[row * LOGITS_SIZE + column] > threshold)) continue;
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = row;
    }
  }
  if (right < 0) return [0, 0, 0, 0];
  const { across, down } = axesOf(frame);
  const [[x1, x2], [y1, y2]] = [reachedBy(across, left, right), reachedBy(down, top, bottom)];
  return x1 < x2 && y1 < y2 ? [x1, y1, x2, y2] : [0, 0, 0, 0];
}

/** Return the start and stop of the pixels that use some of these logits. @param {Axis} axis @param {number} low @param {number} high */
function reachedBy({ first, last, weights }, low, high) {
  let start = 0;
  while (start < last.length && last[start] < low) start++;
  let stop = first.length;
  const begins = (/** @type {number} */ pixel) => first[pixel] + (weights[TAPS * pixel] ? 0 : weights[TAPS * pixel + 1] ? 1 : 2);
  while (stop > start && begins(stop - 1) > high) stop--;
  return [start, stop];
}

/** Return a mask at the original size, one byte a pixel, 1 inside. @param {Float32Array} logits @param {Frame} frame @param {number} threshold */
export function maskOf(logits, frame, threshold) {
  const { width, height } = frame.original;
  const mask = new Uint8Array(width * height);
  const window = windowAbove(logits, frame, threshold);
  eachLine(logits, frame, window, "rows", (row, line) => {
    const start = row * width + window[0];
    for (let place = 0; place < line.length; place++) if (line[place] > threshold) mask[start + place] = 1;
  });
  return mask;
}

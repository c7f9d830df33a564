// The order in which everything mode decodes points, and which points the modes "balanced" and "fast" leave out. See
// mobilesam/automatic/exploration.py, which explains it.

/** @typedef {import("./geometry.js").Point} Point */

/**
 * The new masks to expect of points before any is decoded, and their decrease.
 * @typedef {object} Expectation
 * @property {Float32Array[]} logRates for each kind of mask, the logarithm of the expected masks of each point
 * @property {number[]} decays the decrease of each kind at a point that becomes known
 * @property {number} logLeast points of which fewer new masks are expected are not decoded
 */

const DISTANCE = 0.4; // cosine distance between two points at which one makes the other known by 1 / e only
const SPREAD = 0.3; // weight of the initial order among points that are equally known
const MIN_STABILITY = 0.6;

export class Exploration {
  #appearance;
  #expectation;
  #taken;

  /**
   * @param {Point[]} points in pixels
   * @param {Float32Array[] | null} appearance unit vectors of the embedding at the points, for `learn`; null for a random
   *   order, in which a run that is cut short has covered the whole image
   * @param {number} limit the most points to decode
   * @param {Expectation | null} [expectation] by default nearly as many of each point, in the order of `farthestFirst`
   */
  constructor(points, appearance, limit, expectation) {
    this.#appearance = appearance;
    this.left = limit;
    if (!expectation) {
      const spread = new Float32Array(points.length);
      const order = appearance ? farthestFirst(points) : shuffled(points.length);
      order.forEach((index, place) => { spread[index] = (-SPREAD * place) / points.length; });
      expectation = { logRates: [spread], decays: [1], logLeast: -Infinity };
    }
    this.#expectation = { ...expectation, logRates: expectation.logRates.map((rates) => rates.slice()) };
    this.#taken = new Uint8Array(points.length);
  }

  /** Return the indices of at most `size` points to decode next; none at the end. @param {number} size */
  take(size) {
    const { logRates, logLeast } = this.#expectation;
    const expected = Float64Array.from(this.#taken, (_, index) => logSum(logRates, index));
    const left = Array.from(expected.keys()).filter((index) => !this.#taken[index] && expected[index] >= logLeast);
    left.sort((one, other) => expected[other] - expected[one]);
    const taken = left.slice(0, Math.min(size, this.left));
    this.left -= taken.length;
    for (const index of taken) this.#taken[index] = 1;
    return taken;
  }

  /** Record which points lie inside the finest mask of a decoded point. @param {number} index @param {Uint8Array} inside */
  learn(index, inside) {
    const appearance = /** @type {Float32Array[]} */ (this.#appearance);
    const { logRates, decays } = this.#expectation;
    inside.forEach((isInside, point) => {
      if (!isInside) return;
      const known = Math.exp((dot(appearance[point], appearance[index]) - 1) / DISTANCE);
      logRates.forEach((rates, kind) => { rates[point] -= decays[kind] * known; });
    });
  }
}

/** Return the logarithm of the sum of exponentials. @param {Float32Array[]} logRates @param {number} index */
function logSum(logRates, index) {
  let largest = -Infinity;
  for (const rates of logRates) largest = Math.max(largest, rates[index]);
  let sum = 0;
  for (const rates of logRates) sum += Math.exp(rates[index] - largest);
  return Math.fround(largest + Math.log(sum));
}

/** @param {Float32Array} first @param {Float32Array} second */
function dot(first, second) {
  let sum = 0;
  for (let index = 0; index < first.length; index++) sum += first[index] * second[index];
  return sum;
}

/** Return the order in which each point is the farthest from all before it, beginning near the middle. Among points equally far, the lowest index comes first. @param {Point[]} points */
export function farthestFirst(points) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const middle = [xs, ys].map((values) => (values.reduce((low, value) => Math.min(low, value)) + values.reduce((high, value) => Math.max(high, value))) / 2);
  const distance = new Float64Array(points.length).fill(Infinity);
  let index = 0;
  points.forEach(([x, y], other) => {
    if (squared(x - middle[0], y - middle[1]) < squared(xs[index] - middle[0], ys[index] - middle[1])) index = other;
  });
  return points.map(() => {
    const taken = index;
    distance[taken] = -1;
    let next = 0;
    for (let other = 0; other < points.length; other++) {
      if (distance[other] >= 0) distance[other] = Math.min(distance[other], squared(xs[other] - xs[taken], ys[other] - ys[taken]));
      if (distance[other] > distance[next]) next = other;
    }
    index = next;
    return taken;
  });
}

/** @param {number} x @param {number} y */
function squared(x, y) {
  return x * x + y * y;
}

/** Return numbers below a length in an order that looks random and is always the same. @param {number} length */
function shuffled(length) {
  const order = Array.from({ length }, (_, index) => index);
  let state = 1;
  for (let index = length - 1; index > 0; index--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // the generator of Numerical Recipes
    const other = Math.floor((state / 2 ** 32) * (index + 1));
    [order[index], order[other]] = [order[other], order[index]];
  }
  return order;
}

/** Return vectors less their mean, as unit vectors. @param {Float32Array[]} vectors */
export function appearanceOf(vectors) {
  const mean = new Float64Array(vectors[0].length);
  for (const vector of vectors) vector.forEach((value, index) => { mean[index] += value / vectors.length; });
  return vectors.map((vector) => {
    const centered = vector.map((value, index) => value - mean[index]);
    const length = Math.sqrt(dot(centered, centered));
    return length > 0 ? centered.map((value) => value / length) : centered;
  });
}

/**
 * Return which points lie inside the smallest stable mask of a prompt that contains the prompt.
 * @param {Float32Array[]} masks logits of the prompt, 256 x 256 each
 * @param {number} prompt @param {ArrayLike<number>} points their positions in the logits
 * @param {number} threshold @param {number} offset as of the stability score
 */
export function insideFinest(masks, prompt, points, threshold, offset) {
  const inside = new Uint8Array(points.length);
  let smallest = Infinity;
  for (const logits of masks) {
    if (!(logits[prompt] > threshold)) continue;
    let [area, possible, certain] = [0, 0, 0];
    for (const value of logits) {
      if (!(value > threshold - offset)) continue;
      possible++;
      if (value > threshold) area++;
      if (value > threshold + offset) certain++;
    }
    if (area >= smallest || certain < MIN_STABILITY * possible) continue;
    smallest = area;
    for (let point = 0; point < points.length; point++) inside[point] = Number(logits[points[point]] > threshold);
  }
  return inside;
}

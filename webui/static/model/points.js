// The points of everything mode: their order, and the masks of each. See mobilesam/automatic/segment.py.

import { measure } from "./candidate.js";
import { appearanceOf, Exploration, insideFinest } from "./exploration.js";
import { EMBED_DIM, GRID_SIZE, IMAGE_SIZE, LOGITS_SIZE, MASK_THRESHOLD, MASKS, scaleOf, STABILITY_OFFSET } from "./geometry.js";
import { PADDING } from "./prompts.js";

/** @typedef {import("./candidate.js").Candidate} Candidate */
/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./loading.js").Model} Model */
/** @typedef {import("./runner.js").Scored} Scored */
/** @typedef {"exact" | "balanced" | "fast"} Mode */

/**
 * @typedef {object} CheckedSettings
 * @property {number} pointsPerSide
 * @property {Mode} mode
 * @property {number} predIouThresh
 * @property {number} stabilityScoreThresh
 * @property {number} boxNmsThresh
 * @property {number} minMaskRegionArea
 *
 * @typedef {object} DecodedPoint
 * @property {number} index of the point
 * @property {Candidate[]} candidates those that pass the filters
 * @property {Uint8Array | null} inside which points lie inside the finest mask, unless the mode is "exact"
 */

// The share of the points that each mode decodes; the most of an image where the end depends on the learned expectation.
export const SHARE = { exact: 1, balanced: 0.375, fast: 0.171875 };
const MOST_SHARE = { exact: 1, balanced: 0.625, fast: 0.375 };
const MIN_PREDICTED_IOU = 0.6; // from here on a mask shows which points are known
const DECAYS = [0.5, 1, 2, 4]; // the decrease of the expected masks of each kind
const LEARNED_ON = { predIouThresh: 0.88, stabilityScoreThresh: 0.95 }; // the filters of the masks that are expected

/** Decodes the points of a grid, and filters their masks. */
export class Points {
  #model;
  #settings;
  #image;
  /** @type {Point[]} */
  #points;
  /** In the model frame. @type {Point[]} */
  #places;

  /** @param {Model} model @param {CheckedSettings} settings */
  constructor(model, settings) {
    this.#model = model;
    this.#settings = settings;
    this.#image = model.predictor.image;
    const { original } = this.#image.frame;
    const [scaleX, scaleY] = scaleOf(this.#image.frame);
    this.#points = gridOf(settings.pointsPerSide).map(([x, y]) => [x * original.width, y * original.height]);
    this.#places = this.#points.map(([x, y]) => [Math.fround(x * scaleX), Math.fround(y * scaleY)]);
    this.cells = this.#cells(LOGITS_SIZE);
  }

  get #isAdaptive() {
    return this.#settings.mode !== "exact";
  }

  /** Return the positions of the points on a square grid over the padded image. @param {number} side */
  #cells(side) {
    const cell = (/** @type {number} */ place) => Math.trunc(Math.min((place / IMAGE_SIZE) * side, side - 1));
    return this.#places.map(([x, y]) => cell(y) * side + cell(x));
  }

  /** Return the order in which the points are decoded. */
  async exploration() {
    const { mode } = this.#settings;
    const count = (/** @type {Record<Mode, number>} */ share) => Math.ceil(share[mode] * this.#points.length);
    if (mode === "exact") return new Exploration(this.#points, null, count(SHARE));
    const cells = this.#cells(GRID_SIZE);
    const plane = GRID_SIZE * GRID_SIZE;
    const at = (/** @type {Float32Array} */ values, /** @type {number} */ channels) => cells.map((cell) => Float32Array.from({ length: channels }, (_, channel) => values[channel * plane + cell]));
    const appearance = appearanceOf(at(this.#image.embedding, EMBED_DIM));
    const { least } = this.#model.expectation ?? {};
    const { predIouThresh, stabilityScoreThresh } = this.#settings;
    if (!least || predIouThresh !== LEARNED_ON.predIouThresh || stabilityScoreThresh !== LEARNED_ON.stabilityScoreThresh) {
      return new Exploration(this.#points, appearance, count(SHARE));
    }
    const rates = await this.#model.predictor.runner.expectation(this.#image.embedding);
    const logRates = DECAYS.map((_, kind) => Float32Array.from(cells, (cell) => rates[kind * plane + cell]));
    return new Exploration(this.#points, appearance, count(MOST_SHARE), { logRates, decays: DECAYS, logLeast: Math.log(least[mode]) });
  }

  /** Decode a few points, as many as one call of the decoder takes. @param {number[]} indices @returns {Promise<DecodedPoint[]>} */
  async decode(indices) {
    const { predictor: { runner } } = this.#model;
    const prompts = indices.map((index) => ({ coords: Float32Array.of(...this.#places[index], 0, 0), labels: Float32Array.of(1, PADDING) }));
    const scored = await runner.score(await this.#model.predictor.imageTokens(), prompts);
    const decoded = [];
    for (const [prompt, index] of indices.entries()) decoded.push({ index, ...await this.#masksOf(scored, prompt, index) });
    return decoded;
  }

  /** Return the candidates that pass the filters, and which points lie inside the finest mask. @param {Scored} scored @param {number} prompt @param {number} index */
  async #masksOf(scored, prompt, index) {
    const { predIouThresh, stabilityScoreThresh } = this.#settings;
    const ious = scored.ious.subarray(prompt * MASKS, (prompt + 1) * MASKS);
    const above = (/** @type {number} */ threshold) => [1, 2, 3].filter((mask) => threshold <= 0 || ious[mask] > Math.fround(threshold));
    const wanted = above(this.#isAdaptive ? Math.min(predIouThresh, MIN_PREDICTED_IOU) : predIouThresh);
    const { frame } = this.#image;
    const logits = wanted.length ? await this.#model.predictor.runner.upscale(scored, prompt, frame.input) : [];
    const limits = { threshold: MASK_THRESHOLD, offset: STABILITY_OFFSET, minStability: stabilityScoreThresh };
    const candidates = above(predIouThresh).map((mask) => measure(logits[mask], ious[mask], frame, this.#points[index], limits));
    const inside = this.#isAdaptive
      ? insideFinest(wanted.map((mask) => logits[mask]), this.cells[index], this.cells, MASK_THRESHOLD, STABILITY_OFFSET) : null;
    return { candidates: candidates.filter((candidate) => candidate !== null), inside };
  }
}

/** Return the centers of n x n equal cells, row by row, in 0..1. @param {number} side @returns {Point[]} */
function gridOf(side) {
  const [first, last] = [1 / (2 * side), 1 - 1 / (2 * side)];
  const step = (last - first) / Math.max(1, side - 1);
  const places = Array.from({ length: side }, (_, index) => (index && index === side - 1 ? last : index * step + first));
  return places.flatMap((y) => places.map((x) => /** @type {Point} */ ([x, y])));
}

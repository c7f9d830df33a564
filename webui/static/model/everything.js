// Everything mode: the masks of a grid of points, filtered and without duplicates. See mobilesam/automatic/.

import { boxIou, nms } from "./boxes.js";
import { measure, recordOf } from "./candidate.js";
import { checkNumber, checkWhole, unknownName } from "./errors.js";
import { appearanceOf, Exploration, insideFinest } from "./exploration.js";
import { EMBED_DIM, GRID_SIZE, IMAGE_SIZE, LOGITS_SIZE, MASK_THRESHOLD, MASKS, scaleOf, STABILITY_OFFSET } from "./geometry.js";
import { PADDING } from "./prompts.js";
import { clean } from "./regions.js";
import { boxOf } from "./rle.js";

/** @typedef {import("./candidate.js").Candidate} Candidate */
/** @typedef {import("./candidate.js").MaskRecord} MaskRecord */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./loading.js").Model} Model */
/** @typedef {import("./runner.js").Scored} Scored */
/** @typedef {"exact" | "balanced" | "fast"} Mode */

/**
 * @typedef {object} Settings
 * @property {number} [pointsPerSide] of the grid, 32 by default
 * @property {Mode} [mode] "exact" by default, which decodes all points; the others leave out points of which few new masks
 *   are expected
 * @property {number} [predIouThresh] @property {number} [stabilityScoreThresh] @property {number} [boxNmsThresh]
 * @property {number} [minMaskRegionArea] fill holes and remove islands of fewer pixels
 *
 * @typedef {object} Control
 * @property {() => Promise<boolean>} mustStop whether the run is to end
 * @property {(done: number, total: number, masks: number) => void} onProgress points decoded, points in all, and about how
 *   many masks
 */

/** The records, best first; `partial` if the run was stopped. @typedef {{ records: MaskRecord[], partial: boolean }} Result */

const DEFAULTS = { pointsPerSide: 32, mode: /** @type {Mode} */ ("exact"), predIouThresh: 0.88, stabilityScoreThresh: 0.95, boxNmsThresh: 0.7, minMaskRegionArea: 0 };
const MAX_POINTS_PER_SIDE = 256; // the mask logits have 256 x 256 pixels
// The share of the points that each mode decodes; the most of an image where the end depends on the learned expectation.
const SHARE = { exact: 1, balanced: 0.375, fast: 0.171875 };
const MOST_SHARE = { exact: 1, balanced: 0.625, fast: 0.375 };
const MIN_PREDICTED_IOU = 0.6; // from here on a mask shows which points are known
const DECAYS = [0.5, 1, 2, 4]; // how fast the expected masks of each kind become fewer
const LEARNED_ON = { predIouThresh: 0.88, stabilityScoreThresh: 0.95 }; // the filters of the masks that are expected
const BATCH = 2; // prompts in one call, whose image tokens stay in the cache

/** Return a record for each mask of the image that is set. @param {Model} model @param {Settings} given @param {Control} control @returns {Promise<Result>} */
export async function everything(model, given, { mustStop, onProgress }) {
  const settings = checked({ ...DEFAULTS, ...given });
  const points = new Points(model, settings);
  const exploration = await points.exploration();
  let [done, total] = [0, exploration.left];
  /** @type {Map<number, Candidate[]>} */
  const byPoint = new Map();
  /** @type {Box[]} */
  const distinct = [];
  let stopped = false;
  while (!(stopped = await mustStop())) {
    const indices = exploration.take(BATCH);
    if (!indices.length) break;
    for (const { index, candidates, inside } of await points.decode(indices)) {
      byPoint.set(index, candidates);
      if (inside) exploration.learn(index, inside);
      for (const { box } of candidates) if (!distinct.some((other) => boxIou(box, other) > settings.boxNmsThresh)) distinct.push(box);
    }
    done += indices.length;
    onProgress(done, total, distinct.length);
  }
  if (exploration.left && !stopped) onProgress(done, total -= exploration.left, distinct.length); // no new masks are expected
  // Among equal scores the order of the grid decides.
  const candidates = [...byPoint.keys()].sort((one, other) => one - other).flatMap((index) => byPoint.get(index) ?? []);
  const kept = suppress(candidates, candidates.map(({ predictedIou }) => predictedIou), settings.boxNmsThresh);
  const size = model.predictor.image.frame.original;
  const cleaned = settings.minMaskRegionArea > 0 ? cleanedOf(kept, size, settings) : kept;
  return { records: cleaned.map((candidate) => recordOf(candidate, size)), partial: stopped };
}

/** @param {typeof DEFAULTS} settings */
function checked(settings) {
  checkWhole("pointsPerSide", settings.pointsPerSide, 1, MAX_POINTS_PER_SIDE);
  for (const name of /** @type {const} */ (["predIouThresh", "stabilityScoreThresh", "boxNmsThresh"])) checkNumber(name, settings[name], 0, 1);
  checkNumber("minMaskRegionArea", settings.minMaskRegionArea, 0);
  if (!(settings.mode in SHARE)) throw unknownName("mode", settings.mode, Object.keys(SHARE));
  return settings;
}

/** @param {Candidate[]} candidates @param {number[]} scores @param {number} threshold */
function suppress(candidates, scores, threshold) {
  return nms(candidates.map(({ box }) => box), scores, threshold).map((index) => candidates[index]);
}

/** Fill small holes, remove small islands, and then remove duplicates; of two, one that did not change is kept. @param {Candidate[]} candidates @param {import("./geometry.js").Size} size @param {typeof DEFAULTS} settings */
function cleanedOf(candidates, size, { minMaskRegionArea, boxNmsThresh }) {
  const parts = candidates.map(({ boundaries }) => clean(boundaries, size, minMaskRegionArea));
  const cleaned = candidates.map((candidate, index) => {
    const boundaries = Int32Array.from(parts[index].boundaries);
    return { ...candidate, boundaries, box: boxOf(boundaries, size.height) };
  });
  return suppress(cleaned, parts.map(({ changed }) => Number(!changed)), Math.max(boxNmsThresh, DEFAULTS.boxNmsThresh));
}

/** Decodes the points of a grid, and filters their masks. */
class Points {
  #model;
  #settings;
  #image;
  /** @type {Point[]} */
  #points;
  /** In the model frame. @type {Point[]} */
  #places;

  /** @param {Model} model @param {typeof DEFAULTS} settings */
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

  /** Decode a few points. @param {number[]} indices */
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

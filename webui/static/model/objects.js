// Masks of the page: candidates of a prompt, masks at the original size, and segments. See mobilesam/segment.py and
// webui/service.py. The page shows an image and its masks at a size of their own, `shown`.

import { measure } from "./candidate.js";
import { InputError } from "./errors.js";
import { candidatesOf } from "./everything.js";
import { MASK_THRESHOLD, STABILITY_OFFSET } from "./geometry.js";
import { textOf, textOfLogits } from "./page_text.js";
import { isSinglePoint, modelPrompt } from "./prompts.js";
import { clean } from "./regions.js";
import { areaOf, boxOf, toCoco } from "./rle.js";
import { confidencesOf, keptMask } from "./selection.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./rle.js").Boundaries} Boundaries */
/** @typedef {import("./loading.js").Model} Model */
/** @typedef {import("../engine.js").Prediction} Prediction */
/** @typedef {import("../engine.js").Frozen} Frozen */
/** @typedef {import("../prompt.js").Prompt} PagePrompt */

/**
 * @typedef {object} Candidates of a prompt
 * @property {Float32Array[]} logits of the four masks
 * @property {number[]} ious
 * @property {number[]} indices of the masks that are offered
 * @property {number} best the position in `indices` of the suggested one
 * @property {number[] | null} confidences of the four masks
 * @property {number} ms the time of the decoder
 *
 * @typedef {object} Measured a mask at the original size
 * @property {Boundaries} boundaries
 * @property {number} predicted_iou
 * @property {number} stability_score
 * @property {number | null} confidence
 * @property {number[][]} point_coords
 */

const MULTIMASK = [1, 2, 3];
const SPECK = 1e-3; // of the pixels of an image: smaller holes are filled, and smaller parts removed
const FEEDBACK_KEPT = 8; // chosen masks, 256 kB each

export class Objects {
  /** @type {Map<string, Float32Array>} the last chosen masks, by their steps */
  #feedback = new Map();
  /** @type {{ key: string, logits: Float32Array[], ious: number[], ms: number } | null} the last prompt: a click often follows the preview of the same pixel, and the mask is kept after it */
  #last = null;
  /** @type {Measured[]} the segments of the last run */
  #segments = [];
  #run = 0;

  /** @param {Model} model */
  constructor(model) {
    this.model = model;
  }

  get #frame() {
    return this.model.predictor.image.frame;
  }

  /** Forget what belongs to the image before. */
  reset() {
    this.#feedback.clear();
    this.#last = null;
    this.#segments = [];
  }

  /** Return the candidate masks of a prompt. @param {{ prompt: PagePrompt, shown: Size, clean: boolean }} request @returns {Promise<Prediction>} */
  async predict({ prompt, shown, clean: isClean }) {
    const { logits, ious, indices, best, confidences, ms } = await this.#decode(prompt);
    const frame = { ...this.#frame, original: shown };
    const masks = indices.map((index) => ({
      index,
      predicted_iou: ious[index],
      confidence: confidences?.[index] ?? null,
      rle: isClean ? textOf(cleaned(this.#candidate(logits[index], ious[index]).boundaries, this.#frame.original), this.#frame.original, shown)
        : textOfLogits(logits[index], frame, MASK_THRESHOLD),
    }));
    return { masks, best, decode_ms: ms, refined: true };
  }

  /** Return the chosen mask of a prompt at the original size, or the suggested one. @param {{ prompt: PagePrompt, shown: Size, clean: boolean }} request @returns {Promise<Frozen[]>} */
  async freeze({ prompt, shown, clean: isClean }) {
    const { logits, ious, indices, best, confidences } = await this.#decode(prompt);
    const index = prompt.chosen !== null && indices.includes(prompt.chosen) ? prompt.chosen : indices[best];
    const candidate = this.#candidate(logits[index], ious[index]);
    const { original } = this.#frame;
    return [this.#frozen({
      boundaries: isClean ? cleaned(candidate.boundaries, original) : candidate.boundaries,
      predicted_iou: ious[index],
      stability_score: candidate.stability,
      confidence: confidences?.[index] ?? null,
      point_coords: prompt.points.map(([x, y]) => [x, y]),
    }, shown)];
  }

  /**
   * Segment everything.
   * @param {{ mode: import("./points.js").Mode, clean: boolean, shown: Size }} request
   * @param {import("./everything.js").Control} control
   * @returns {Promise<{ segments: { rle: string, area: number, share: number, predicted_iou: number }[], partial: boolean, run: number }>}
   */
  async everything({ mode, clean: isClean, shown }, control) {
    const { original } = this.#frame;
    const settings = { mode, minMaskRegionArea: isClean ? leastRegion(original) : 0 };
    const { candidates, partial } = await candidatesOf(this.model, settings, control);
    this.#segments = candidates.map(({ boundaries, predictedIou, stability, point }) => (
      { boundaries, predicted_iou: predictedIou, stability_score: stability, confidence: null, point_coords: [point] }
    ));
    this.#run += 1;
    const segments = this.#segments.map(({ boundaries, predicted_iou }) => {
      const area = areaOf(boundaries);
      return { rle: textOf(boundaries, original, shown), area, share: area / (original.width * original.height), predicted_iou };
    });
    return { segments, partial, run: this.#run };
  }

  /** Return segments of the last run, all if none is selected. @param {number} run its number @param {number[]} selected */
  segmentsOf(run, selected) {
    if (run !== this.#run || !this.#segments.length) throw new InputError("These segments are not those of the last run. Segment everything again.");
    return selected.length ? [...selected].sort((one, other) => one - other).map((index) => this.#segments[index]) : this.#segments;
  }

  /** Return segments of the last run at the original size. @param {number} run its number @param {number[]} selected @param {Size} shown */
  frozenSegments(run, selected, shown) {
    return this.segmentsOf(run, selected).map((segment) => this.#frozen(segment, shown));
  }

  /** @param {PagePrompt} prompt @returns {Promise<Candidates>} */
  async #decode({ points, box, steps, chosen }) {
    const { predictor } = this.model;
    const ready = modelPrompt({ ...marksOf({ points, box }), maskInput: await this.#feedbackOf(steps) }, this.#frame);
    const key = JSON.stringify({ points, box, steps });
    if (this.#last?.key !== key) {
      const start = performance.now();
      const decoded = await predictor.decode(ready);
      this.#last = { key, ...decoded, ms: performance.now() - start };
    }
    const { logits, ious, ms } = this.#last;
    const confidences = confidencesOf(predictor.choosers, ready, logits, ious, this.#frame);
    const kept = keptMask(confidences, ready, logits, ious);
    if (!confidences && !isSinglePoint(ready) && !chosen) return { logits, ious, indices: [0], best: 0, confidences: null, ms };
    const isBox = box !== null && !points.length && !steps.length;
    const { indices, best } = isBox ? { indices: [chosen ?? kept], best: 0 } : three(logits, kept, chosen);
    return { logits, ious, indices, best, confidences, ms };
  }

  /** Decode the steps of an object, each with the mask chosen in the step before, and return the last chosen mask. @param {PagePrompt["steps"]} steps */
  async #feedbackOf(steps) {
    if (!steps.length) return undefined;
    const key = JSON.stringify(steps);
    let logits = this.#feedback.get(key);
    if (!logits) {
      const { points, box, chosen } = steps[steps.length - 1];
      const before = await this.#feedbackOf(steps.slice(0, -1));
      const decoded = await this.model.predictor.decode(modelPrompt({ ...marksOf({ points, box }), maskInput: before }, this.#frame));
      logits = decoded.logits[chosen ?? 0].slice();
      this.#feedback.set(key, logits);
      for (const old of this.#feedback.keys()) if (this.#feedback.size > FEEDBACK_KEPT) this.#feedback.delete(old);
    }
    return logits;
  }

  /** @param {Float32Array} logits @param {number} iou */
  #candidate(logits, iou) {
    const limits = { threshold: MASK_THRESHOLD, offset: STABILITY_OFFSET, minStability: 0 };
    const candidate = measure(logits, iou, this.#frame, [0, 0], limits);
    if (!candidate) throw new Error("A mask without a least stability was left out.");
    return candidate;
  }

  /** @param {Measured} mask @param {Size} shown @returns {Frozen} */
  #frozen({ boundaries, ...about }, shown) {
    const { original } = this.#frame;
    return { ...about, ...placeOf(boundaries, original), rle: textOf(boundaries, original, shown) };
  }
}

/** @param {Boundaries} boundaries @param {Size} size */
function placeOf(boundaries, size) {
  const [x1, y1, x2, y2] = boxOf(boundaries, size.height);
  const area = areaOf(boundaries);
  return { segmentation: toCoco(boundaries, size), area, bbox: area ? [x1, y1, x2 - x1 + 1, y2 - y1 + 1] : [0, 0, 0, 0] };
}

/** Return the marks of the page as the model's prompt. @param {Pick<PagePrompt, "points" | "box">} marks */
function marksOf({ points, box }) {
  const places = points.length ? { points: points.map(([x, y]) => [x, y]), labels: points.map(([, , label]) => label) } : {};
  return { ...places, ...(box && { box }) };
}

/**
 * Return three of four masks to choose from: the multimask outputs. The single-mask output, if it is the kept or chosen
 * one, replaces the multimask output most similar to it.
 * @param {Float32Array[]} logits @param {number} kept @param {number | null} chosen
 */
function three(logits, kept, chosen) {
  const indices = [...MULTIMASK];
  const needed = new Set([kept, chosen ?? kept]);
  if (needed.has(0)) {
    const equal = (/** @type {number} */ index) => {
      let count = 0;
      logits[0].forEach((value, pixel) => { if (value > MASK_THRESHOLD === logits[index][pixel] > MASK_THRESHOLD) count += 1; });
      return count;
    };
    const free = indices.filter((index) => !needed.has(index));
    const counts = free.map(equal);
    indices[indices.indexOf(free[counts.indexOf(Math.max(...counts))])] = 0;
  }
  return { indices, best: indices.indexOf(kept) };
}

/** Return the pixels below which a hole is filled and a speck removed. @param {Size} size */
function leastRegion({ width, height }) {
  return SPECK * width * height;
}

/** @param {Boundaries} boundaries @param {Size} size */
function cleaned(boundaries, size) {
  return boundaries.length ? clean(boundaries, size, leastRegion(size)).boundaries : boundaries;
}

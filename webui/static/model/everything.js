// Everything mode: the masks of a grid of points, filtered and without duplicates. See mobilesam/automatic/.

import { boxIou, nms } from "./boxes.js";
import { recordOf } from "./candidate.js";
import { checkNumber, checkWhole, unknownName } from "./errors.js";
import { Points, SHARE } from "./points.js";
import { clean } from "./regions.js";
import { boxOf } from "./rle.js";

/** @typedef {import("./candidate.js").Candidate} Candidate */
/** @typedef {import("./candidate.js").MaskRecord} MaskRecord */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./loading.js").Model} Model */
/** @typedef {import("./points.js").CheckedSettings} CheckedSettings */

/**
 * @typedef {object} Settings
 * @property {number} [pointsPerSide] of the grid, 32 by default
 * @property {import("./points.js").Mode} [mode] "exact" by default, which decodes all points; "balanced" and "fast" leave
 *   out points of which few new masks are expected
 * @property {number} [predIouThresh] the least predicted IoU, 0.88 by default
 * @property {number} [stabilityScoreThresh] the least stability score, 0.95 by default
 * @property {number} [boxNmsThresh] of masks whose boxes have a higher IoU, one is kept; 0.7 by default
 * @property {number} [minMaskRegionArea] fill holes and remove islands of fewer pixels
 *
 * @typedef {object} Control
 * @property {() => Promise<boolean>} mustStop whether the run is to end
 * @property {(done: number, total: number, masks: number) => void} onProgress points decoded, points in all, and the
 *   approximate number of masks
 */

/** The records, best first; `partial` if the run was stopped. @typedef {{ records: MaskRecord[], partial: boolean }} Result */

/** @type {CheckedSettings} */
const DEFAULTS = { pointsPerSide: 32, mode: "exact", predIouThresh: 0.88, stabilityScoreThresh: 0.95, boxNmsThresh: 0.7, minMaskRegionArea: 0 };
const MAX_POINTS_PER_SIDE = 256; // the mask logits have 256 x 256 pixels
const BATCH = 2; // prompts in one call, whose image tokens stay in the cache

/** Return a record for each mask of the image that is set. @param {Model} model @param {Settings} given @param {Control} control @returns {Promise<Result>} */
export async function everything(model, given, control) {
  const { candidates, partial } = await candidatesOf(model, given, control);
  const size = model.predictor.image.frame.original;
  return { records: candidates.map((candidate) => recordOf(candidate, size)), partial };
}

/** Return the masks of the image that is set, best first. @param {Model} model @param {Settings} given @param {Control} control @returns {Promise<{ candidates: Candidate[], partial: boolean }>} */
export async function candidatesOf(model, given, { mustStop, onProgress }) {
  const settings = checked({ ...DEFAULTS, ...given });
  const points = new Points(model, settings);
  const exploration = await points.exploration();
  const total = exploration.left;
  let done = 0;
  /** @type {Map<number, Candidate[]>} */
  const byPoint = new Map();
  /** @type {Box[]} */
  const distinct = [];
  let stopped = await mustStop();
  while (!stopped) {
    const indices = exploration.take(BATCH);
    if (!indices.length) break;
    for (const { index, candidates, inside } of await points.decode(indices)) {
      byPoint.set(index, candidates);
      if (inside) exploration.learn(index, inside);
      for (const { box } of candidates) if (!distinct.some((other) => boxIou(box, other) > settings.boxNmsThresh)) distinct.push(box);
    }
    done += indices.length;
    onProgress(done, total, distinct.length);
    stopped = await mustStop();
  }
  if (exploration.left && !stopped) onProgress(done, done, distinct.length); // no new masks are expected
  // Among equal scores the order of the grid decides.
  const candidates = [...byPoint.keys()].sort((one, other) => one - other).flatMap((index) => byPoint.get(index) ?? []);
  const kept = suppress(candidates, candidates.map(({ predictedIou }) => predictedIou), settings.boxNmsThresh);
  const size = model.predictor.image.frame.original;
  const cleaned = settings.minMaskRegionArea > 0 ? cleanedOf(kept, size, settings) : kept;
  return { candidates: cleaned, partial: stopped };
}

/** @param {CheckedSettings} settings */
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

/** Fill small holes, remove small islands, and then remove duplicates; of two, one that did not change is kept. @param {Candidate[]} candidates @param {import("./geometry.js").Size} size @param {CheckedSettings} settings */
function cleanedOf(candidates, size, { minMaskRegionArea, boxNmsThresh }) {
  const parts = candidates.map(({ boundaries }) => clean(boundaries, size, minMaskRegionArea));
  const cleaned = candidates.map((candidate, index) => {
    const boundaries = Int32Array.from(parts[index].boundaries);
    return { ...candidate, boundaries, box: boxOf(boundaries, size.height) };
  });
  return suppress(cleaned, parts.map(({ changed }) => Number(!changed)), Math.max(boxNmsThresh, DEFAULTS.boxNmsThresh));
}

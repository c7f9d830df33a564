// Masks as polygons, see mobilesam/formats/polygons.py: the corners are the centers of the outermost pixels, as
// cv2.findContours returns them, and a hole is joined to the outline around it by a bridge of no width.
//
// Borders are followed as in Suzuki and Abe, Topological structural analysis of digitized binary images by border
// following, 1985.

import { addTo, borderedOf, Parts } from "./parts.js";

/** @typedef {import("../model/rle.js").Boundaries} Boundaries */
/** @typedef {number[]} Ring x, y, x, y, ... */
/** @typedef {{ ring: Ring, isHole: boolean, part: number }} Contour `part`: see Parts */

const NEAR_STEPS = 4; // of walking to and fro between two outlines
const FOLLOWED = 2; // marks of pixels; 1 is the mask itself
const FOLLOWED_RIGHT = 3; // the pixel to the right is empty
const DX = [1, 1, 0, -1, -1, -1, 0, 1];
const DY = [0, -1, -1, -1, 0, 1, 1, 1];

/** Return the contours of a mask in the order in which its rows begin them. @param {Boundaries} boundaries @param {number} height of the image @param {boolean} all whether all pixels are given, or only those where the direction changes @returns {Contour[]} */
export function contoursOf(boundaries, height, all = false) {
  if (!boundaries.length) return [];
  const mask = borderedOf(boundaries, height);
  const { pixels, width } = mask;
  const parts = new Parts(mask, true);
  /** @type {{ ring: Ring, isHole: boolean, run: number }[]} */
  const contours = [];
  for (let y = 0; y < mask.height; y++) {
    const [first, last] = parts.row(y);
    for (let run = first; run < last; run++) {
      const start = y * width + parts.starts[run];
      const end = y * width + parts.stops[run] - 1;
      if (pixels[start] === 1) contours.push({ ring: follow(mask, start, false, all), isHole: false, run });
      if (pixels[end] !== FOLLOWED_RIGHT) contours.push({ ring: follow(mask, end, true, all), isHole: true, run });
    }
  }
  return contours.map(({ ring, isHole, run }) => ({ ring, isHole, part: parts.of(run) }));
}

/** Follow a border, and mark its pixels. @param {import("./parts.js").Bordered} mask @param {number} start @param {boolean} isHole @param {boolean} all @returns {Ring} */
function follow({ pixels, width, x: left, y: top }, start, isHole, all) {
  const steps = DX.map((dx, direction) => dx + DY[direction] * width);
  let [x, y] = [left + (start % width), top + Math.floor(start / width)];
  const first = isHole ? 0 : 4;
  let direction = first;
  do direction = (direction - 1) & 7;
  while (!pixels[start + steps[direction]] && direction !== first);
  if (direction === first) {
    pixels[start] = FOLLOWED_RIGHT;
    return [x, y];
  }
  const ring = [];
  const last = start + steps[direction];
  let previous = direction ^ 4;
  for (let here = start; ;) {
    const from = direction;
    do direction++;
    while (!pixels[here + steps[direction & 7]]);
    direction &= 7;
    if (direction > 0 && direction <= from) pixels[here] = FOLLOWED_RIGHT;
    else if (pixels[here] === 1) pixels[here] = FOLLOWED;
    if (all || direction !== previous) ring.push(x, y);
    previous = direction;
    x += DX[direction];
    y += DY[direction];
    const next = here + steps[direction];
    if (next === start && here === last) return ring;
    here = next;
    direction = (direction + 4) & 7;
  }
}

/** Return one closed ring of at least three corners for each part of a mask, the largest first. @param {Boundaries} boundaries @param {number} height of the image */
export function ringsOf(boundaries, height) {
  const contours = contoursOf(boundaries, height).reverse();
  /** @type {Map<number, Ring[]>} */
  const holes = new Map();
  for (const { ring, isHole, part } of contours) {
    if (isHole) addTo(holes, part, ring);
  }
  const outer = contours.filter(({ isHole }) => !isHole).map((contour) => ({ ...contour, area: areaOf(contour.ring) }));
  outer.sort((a, b) => b.area - a.area);
  return outer.map(({ ring, part }) => atLeastThree((holes.get(part) ?? []).reduce(joined, ring)));
}

/** Return a single ring, with the parts of the mask joined by bridges; an empty one for an empty mask. @param {Boundaries} boundaries @param {number} height of the image @returns {Ring} */
export function oneRingOf(boundaries, height) {
  const rings = ringsOf(boundaries, height);
  return rings.length ? rings.reduce(joined) : [];
}

/** Return the corners of a ring. @param {Ring} ring */
export function cornersOf(ring) {
  return Array.from({ length: ring.length / 2 }, (_, index) => [ring[2 * index], ring[2 * index + 1]]);
}

/** @param {Ring} ring */
function areaOf(ring) {
  let sum = 0;
  let [x, y] = ring.slice(-2);
  for (let index = 0; index < ring.length; index += 2) {
    sum += x * ring[index + 1] - y * ring[index];
    [x, y] = [ring[index], ring[index + 1]];
  }
  return Math.abs(sum / 2);
}

/** Return a ring that contains one, a bridge, the other, and the bridge back. @param {Ring} ring @param {Ring} other @returns {Ring} */
function joined(ring, other) {
  let [start, end] = [0, 0];
  for (let step = 0; step < NEAR_STEPS; step++) {
    start = nearest(ring, other[end], other[end + 1]);
    end = nearest(other, ring[start], ring[start + 1]);
  }
  return [...ring.slice(0, start + 2), ...other.slice(end), ...other.slice(0, end + 2), ...ring.slice(start)];
}

/** @param {Ring} ring @param {number} x @param {number} y */
function nearest(ring, x, y) {
  let [best, least] = [0, Infinity];
  for (let index = 0; index < ring.length; index += 2) {
    const distance = (ring[index] - x) ** 2 + (ring[index + 1] - y) ** 2;
    if (distance < least) [best, least] = [index, distance];
  }
  return best;
}

/** @param {Ring} ring */
function atLeastThree(ring) {
  const padded = [...ring];
  while (padded.length < 6) padded.push(ring[0], ring[1]);
  return padded;
}

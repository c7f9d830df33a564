// Masks as exact outlines, see mobilesam/formats/outlines.py: polygons along the edges of pixels, with holes.

import { addTo, borderedOf, Parts } from "./parts.js";

/** @typedef {import("../model/rle.js").Boundaries} Boundaries */
/** @typedef {[number, number][]} Ring corners x, y; the last one is equal to the first */
/** @typedef {{ exterior: Ring, holes: Ring[] }} Polygon one part of a mask */
/** @typedef {Map<number, number[]>} Edges the corners where the edges of a corner end; a corner is y * width + x */

/** Return the parts of a mask, the uppermost first. @param {Boundaries} boundaries @param {number} height of the image @returns {Polygon[]} */
export function outlinesOf(boundaries, height) {
  if (!boundaries.length) return [];
  const mask = borderedOf(boundaries, height);
  const parts = new Parts(mask, false);
  /** @type {Map<number, Ring>} */
  const exteriors = new Map();
  /** @type {Map<number, Ring[]>} */
  const holes = new Map();
  for (const corners of ringsOf(mask)) {
    /** @type {Ring} */
    const ring = corners.map((corner) => [corner % mask.width, Math.floor(corner / mask.width)]);
    /** @type {Ring} */
    const placed = ring.map(([x, y]) => [x + mask.x, y + mask.y]);
    const part = partRightOf(parts, ring[0], ring[1]);
    if (isExterior(ring)) exteriors.set(part, placed);
    else addTo(holes, part, placed);
  }
  const sorted = [...exteriors].sort(([a], [b]) => a - b);
  return sorted.map(([part, exterior]) => ({ exterior, holes: holes.get(part) ?? [] }));
}

/** Return the part of the pixel to the right of an edge's beginning. @param {Parts} parts @param {[number, number]} begin @param {[number, number]} end */
function partRightOf(parts, [x, y], [endX, endY]) {
  return parts.at(endX > x || endY < y ? x : x - 1, endX > x || endY > y ? y : y - 1);
}

/** @param {Ring} ring */
function isExterior(ring) {
  let sum = 0;
  for (let index = 1; index < ring.length; index++) {
    const [[x, y], [nextX, nextY]] = [ring[index - 1], ring[index]];
    sum += x * nextY - nextX * y;
  }
  return sum > 0;
}

/** Yield closed rings with the mask to their right; no corner occurs twice in one. @param {import("./parts.js").Bordered} mask */
function* ringsOf(mask) {
  const { width } = mask;
  const following = edgesOf(mask);
  for (const [start, ends] of following) {
    while (ends.length) {
      const path = [start];
      const places = new Map([[start, 0]]);
      let heading = 0; // the direction that turns right, as the difference of two corners
      while (path.length) {
        const here = path[path.length - 1];
        const choices = following.get(here) ?? [];
        // Where two pixels meet at a corner only, the ring stays at the same pixel.
        const right = heading ? choices.findIndex((end) => step(here, end, width) === heading) : 0;
        const [there] = choices.splice(Math.max(right, 0), 1);
        heading = turned(step(here, there, width), width);
        const since = places.get(there);
        if (since === undefined) {
          places.set(there, path.length);
          path.push(there);
          continue;
        }
        yield [...path.slice(since), there];
        for (const corner of path.slice(since + 1)) places.delete(corner);
        path.length = since ? since + 1 : 0;
      }
    }
  }
}

/** Return the direction of a straight edge as the difference of neighboring corners. @param {number} begin @param {number} end @param {number} width */
function step(begin, end, width) {
  const upright = begin % width === end % width;
  return Math.sign(end - begin) * (upright ? width : 1);
}

/** @param {number} direction @param {number} width */
function turned(direction, width) {
  return Math.abs(direction) === 1 ? direction * width : -direction / width;
}

/** Return the straight edges of a mask, with the mask to their right. @param {import("./parts.js").Bordered} mask @returns {Edges} */
function edgesOf({ pixels, width, height }) {
  /** @type {Edges} */
  const following = new Map();
  // A line has `count` pixels, which are `along` apart; `across` is the distance to the line before it.
  /** @type {(lines: number, count: number, along: number, across: number, kind: 1 | -1, forwards: boolean) => void} */
  const addLines = (lines, count, along, across, kind, forwards) => {
    for (let line = 1; line < lines; line++) {
      const placeOf = (/** @type {number} */ index) => line * across + index * along;
      const isEdge = (/** @type {number} */ index) => pixels[placeOf(index)] - pixels[placeOf(index) - across] === kind;
      for (let index = 0; index < count; index++) {
        if (!isEdge(index)) continue;
        const first = placeOf(index);
        while (index < count && isEdge(index)) index++;
        if (forwards) addTo(following, first, placeOf(index));
        else addTo(following, placeOf(index), first);
      }
    }
  };
  addLines(height, width, 1, width, 1, true);
  addLines(height, width, 1, width, -1, false);
  addLines(width, height, width, 1, 1, false);
  addLines(width, height, width, 1, -1, true);
  return following;
}

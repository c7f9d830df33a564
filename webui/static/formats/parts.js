// The connected parts of a mask.

import { boxOf, windowOf } from "../model/rle.js";

/** @typedef {import("../model/rle.js").Boundaries} Boundaries */

/**
 * The pixels of a mask, one byte each, row by row, with a border of one empty pixel around its bounding box.
 * @typedef {object} Bordered
 * @property {Uint8Array} pixels
 * @property {number} width with the border
 * @property {number} height with the border
 * @property {number} x of the first column, the border, in the image
 * @property {number} y of the first row
 */

/** @param {Boundaries} boundaries @param {number} height of the image @returns {Bordered} */
export function borderedOf(boundaries, height) {
  const [x1, y1, x2, y2] = boxOf(boundaries, height);
  const pixels = windowOf(boundaries, height, [x1 - 1, y1 - 1, x2 + 2, y2 + 2]);
  return { pixels, width: x2 - x1 + 3, height: y2 - y1 + 3, x: x1 - 1, y: y1 - 1 };
}

/** The runs of each row. Those that touch belong to one part, with `diagonal` also those that touch at corners. */
export class Parts {
  /** @type {number[]} */
  starts = [];
  /** @type {number[]} */
  stops = [];
  /** @type {number[]} a run of the same part, an earlier one if there is any */
  #earlier = [];
  #firstOfRow;

  /** @param {Bordered} mask @param {boolean} diagonal */
  constructor({ pixels, width, height }, diagonal) {
    const { starts, stops } = this;
    this.#firstOfRow = new Int32Array(height + 1);
    const reach = diagonal ? 1 : 0;
    for (let y = 0, above = 0; y < height; y++) {
      const first = starts.length;
      this.#firstOfRow[y] = first;
      for (let x = 0; x < width; x++) {
        if (!pixels[y * width + x]) continue;
        const start = x;
        while (pixels[y * width + x]) x++;
        const run = starts.length;
        starts.push(start);
        stops.push(x);
        this.#earlier.push(run);
        while (above < first && stops[above] + reach <= start) above++;
        for (let other = above; other < first && starts[other] < x + reach; other++) this.#join(run, other);
      }
      above = first;
    }
    this.#firstOfRow[height] = starts.length;
  }

  /** @param {number} run @param {number} other */
  #join(run, other) {
    const [low, high] = [this.of(run), this.of(other)].sort((a, b) => a - b);
    this.#earlier[high] = low;
  }

  /** Return the number of the first run of the part that a run belongs to. @param {number} run */
  of(run) {
    const earlier = this.#earlier;
    while (earlier[run] !== run) run = earlier[run] = earlier[earlier[run]];
    return run;
  }

  /** Return the runs of a row as first and last, the last one exclusive. @param {number} y */
  row(y) {
    return [this.#firstOfRow[y], this.#firstOfRow[y + 1]];
  }

  /** Return the part of a pixel of the mask. @param {number} x @param {number} y */
  at(x, y) {
    let [low, high] = this.row(y);
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= x) low = middle;
      else high = middle;
    }
    return this.of(low);
  }
}

/** Add a value to the list of a key. @template Key, Value @param {Map<Key, Value[]>} lists @param {Key} key @param {Value} value */
export function addTo(lists, key, value) {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

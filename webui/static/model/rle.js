// Run lengths of masks, see mobilesam/masks/rle.py. A mask is its *boundaries*: the start and stop positions of its runs
// of foreground, column by column. They increase strictly, so that two runs never touch.

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {ArrayLike<number> & Iterable<number>} Boundaries */
/** @typedef {{ size: [number, number], counts: number[] }} UncompressedRle size: height, width */
/** @typedef {{ size: [number, number], counts: string }} CocoRle size: height, width */

/** Collects runs that are added in order, and joins those that touch. */
export class Runs {
  /** @type {number[]} */
  boundaries = [];

  /** @param {number} start @param {number} stop */
  add(start, stop) {
    const { boundaries } = this;
    if (boundaries[boundaries.length - 1] === start) boundaries[boundaries.length - 1] = stop;
    else boundaries.push(start, stop);
  }

  /** Add the pixels of a line that are set. @param {ArrayLike<number>} line @param {number} offset the position of its first pixel @param {(value: number) => boolean} isSet */
  addLine(line, offset, isSet) {
    for (let place = 0; place < line.length; place++) {
      if (!isSet(line[place])) continue;
      const start = place;
      while (place < line.length && isSet(line[place])) place++;
      this.add(offset + start, offset + place);
    }
  }
}

/** Return the boundaries of a mask that is empty outside of a window. @param {Uint8Array} window one byte a pixel, row by row @param {Box} box of the window, x2 and y2 exclusive @param {number} height of the image */
export function boundariesOf(window, [x1, y1, x2, y2], height) {
  const runs = new Runs();
  const column = new Uint8Array(y2 - y1);
  for (let x = x1; x < x2; x++) {
    for (let row = 0; row < column.length; row++) column[row] = window[row * (x2 - x1) + x - x1];
    runs.addLine(column, x * height + y1, (value) => value !== 0);
  }
  return runs.boundaries;
}

/** @param {Boundaries} boundaries */
export function areaOf(boundaries) {
  let area = 0;
  for (let index = 0; index < boundaries.length; index += 2) area += boundaries[index + 1] - boundaries[index];
  return area;
}

/** Return the outermost pixels, all inclusive; zeros for an empty mask. @param {Boundaries} boundaries @param {number} height @returns {Box} */
export function boxOf(boundaries, height) {
  if (!boundaries.length) return [0, 0, 0, 0];
  const left = Math.floor(boundaries[0] / height);
  const right = Math.floor((boundaries[boundaries.length - 1] - 1) / height);
  let [top, bottom] = [height, 0];
  for (let index = 0; index < boundaries.length; index += 2) {
    const [first, last] = [boundaries[index], boundaries[index + 1] - 1];
    if (Math.floor(first / height) !== Math.floor(last / height)) return [left, 0, right, height - 1]; // over the bottom of a column
    top = Math.min(top, first % height);
    bottom = Math.max(bottom, last % height);
  }
  return [left, top, right, bottom];
}

/** Return a window of a mask, one byte a pixel, row by row. @param {Boundaries} boundaries @param {number} height of the image @param {Box} box of the window, x2 and y2 exclusive */
export function windowOf(boundaries, height, [x1, y1, x2, y2]) {
  const width = x2 - x1;
  const window = new Uint8Array(width * (y2 - y1));
  for (let index = 0; index < boundaries.length; index += 2) {
    const stop = Math.min(boundaries[index + 1], x2 * height);
    for (let start = Math.max(boundaries[index], x1 * height); start < stop;) {
      const x = Math.floor(start / height);
      const end = Math.min(stop, (x + 1) * height);
      const last = Math.min(end - x * height, y2);
      for (let y = Math.max(start - x * height, y1); y < last; y++) window[(y - y1) * width + x - x1] = 1;
      start = end;
    }
  }
  return window;
}

/** Return a mask, one byte a pixel, row by row. @param {Boundaries} boundaries @param {Size} size */
export function maskOf(boundaries, { width, height }) {
  return windowOf(boundaries, height, [0, 0, width, height]);
}

/** Return run lengths that begin with background. @param {Boundaries} boundaries @param {Size} size @returns {UncompressedRle} */
export function toUncompressed(boundaries, { width, height }) {
  const counts = [];
  let position = 0;
  for (const boundary of [...boundaries, width * height]) {
    counts.push(boundary - position);
    position = boundary;
  }
  if (counts.length > 1 && counts[counts.length - 1] === 0) counts.pop();
  return { size: [height, width], counts };
}

/** Return COCO's compressed run lengths: from the fourth on, each is the difference to the one two before it. @param {Boundaries} boundaries @param {Size} size @returns {CocoRle} */
export function toCoco(boundaries, size) {
  const { size: hw, counts } = toUncompressed(boundaries, size);
  let text = "";
  counts.forEach((count, index) => {
    let left = index > 2 ? count - counts[index - 2] : count;
    for (let more = true; more;) {
      let bits = left & 31;
      left >>= 5;
      more = bits & 16 ? left !== -1 : left !== 0;
      if (more) bits |= 32;
      text += String.fromCharCode(bits + 48);
    }
  });
  return { size: hw, counts: text };
}

/** Return the boundaries of uncompressed run lengths. @param {UncompressedRle} rle */
export function fromUncompressed({ counts }) {
  const boundaries = [];
  let position = 0;
  for (const count of counts) boundaries.push((position += count));
  return boundaries.slice(0, boundaries.length - (boundaries.length % 2));
}

/** Return the boundaries of COCO's compressed run lengths. @param {CocoRle} rle */
export function fromCoco({ size, counts }) {
  /** @type {number[]} */
  const lengths = [];
  for (let place = 0; place < counts.length;) {
    let [value, shift] = [0, 0];
    let code = 32;
    for (; code & 32; shift += 5) {
      code = counts.charCodeAt(place++) - 48;
      value |= (code & 31) << shift;
    }
    if (code & 16 && shift < 32) value |= -1 << shift;
    lengths.push(lengths.length > 2 ? value + lengths[lengths.length - 2] : value);
  }
  return fromUncompressed({ size, counts: lengths });
}

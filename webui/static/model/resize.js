// Pillow's antialiased bilinear filter on 8-bit channels. It gives the same pixels, because it uses the same fixed-point
// coefficients.

/** @typedef {import("./geometry.js").Size} Size */

/**
 * An image of which rows can be read.
 * @typedef {Size & { rows: (top: number, count: number) => Uint8Array }} Rows
 * `rows` returns RGB of the rows from `top` on, three bytes a pixel.
 */

const PRECISION = 22; // bits after the binary point
const BAND = 256; // rows that are read at a time
const TALL = 100; // Pillow resizes the columns first where the height is more than this many times the width

/**
 * The source pixels of each target pixel.
 * @typedef {object} Filter
 * @property {Int32Array} first the first source pixel of each target pixel
 * @property {Int32Array} count of source pixels
 * @property {Int32Array} weights `taps` for each target pixel
 * @property {number} taps
 */

/** @param {number} source @param {number} target @returns {Filter} */
function filterOf(source, target) {
  const scale = source / target;
  const support = Math.max(scale, 1);
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(target);
  const count = new Int32Array(target);
  const weights = new Int32Array(target * taps);
  const exact = new Float64Array(taps);
  for (let index = 0; index < target; index++) {
    const center = (index + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const length = Math.min(source, Math.trunc(center + support + 0.5)) - start;
    let sum = 0;
    for (let tap = 0; tap < length; tap++) {
      exact[tap] = Math.max(0, 1 - Math.abs((tap + start - center + 0.5) * (1 / support)));
      sum += exact[tap];
    }
    for (let tap = 0; tap < length; tap++) weights[index * taps + tap] = Math.trunc(0.5 + (sum ? exact[tap] / sum : exact[tap]) * 2 ** PRECISION);
    first[index] = start;
    count[index] = length;
  }
  return { first, count, weights, taps };
}

/** Resize each row of an RGB image. @param {Uint8Array} pixels @param {number} width @param {number} height @param {Filter} filter @param {Uint8Array} out */
function resizeRows(pixels, width, height, { first, count, weights, taps }, out) {
  let target = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < first.length; column++) {
      let [red, green, blue] = [HALF, HALF, HALF];
      let source = 3 * (row * width + first[column]);
      const end = column * taps + count[column];
      for (let tap = column * taps; tap < end; tap++, source += 3) {
        const weight = weights[tap];
        red += pixels[source] * weight;
        green += pixels[source + 1] * weight;
        blue += pixels[source + 2] * weight;
      }
      out[target++] = red >> PRECISION;
      out[target++] = green >> PRECISION;
      out[target++] = blue >> PRECISION;
    }
  }
}

const HALF = 1 << (PRECISION - 1);

/** Resize each column of an RGB image. @param {Uint8Array} pixels @param {number} width @param {Filter} filter */
function resizeColumns(pixels, width, { first, count, weights, taps }) {
  const stride = 3 * width;
  const out = new Uint8Array(first.length * stride);
  const sums = new Int32Array(stride);
  for (let row = 0; row < first.length; row++) {
    sums.fill(HALF);
    for (let tap = 0; tap < count[row]; tap++) {
      const weight = weights[row * taps + tap];
      const start = (first[row] + tap) * stride;
      for (let index = 0; index < stride; index++) sums[index] += pixels[start + index] * weight;
    }
    for (let index = 0; index < stride; index++) out[row * stride + index] = sums[index] >> PRECISION;
  }
  return out;
}

/** Return an image of another size, as RGB, three bytes a pixel. @param {Rows} image @param {Size} size */
export function resize(image, size) {
  if (image.height > TALL * image.width && size.height < image.height) {
    const narrow = resizeColumns(image.rows(0, image.height), image.width, filterOf(image.height, size.height));
    return resizedRows({ width: image.width, height: size.height, rows: (top, count) => part(narrow, image.width, top, count) }, size.width);
  }
  const narrow = resizedRows(image, size.width);
  return size.height === image.height ? narrow : resizeColumns(narrow, size.width, filterOf(image.height, size.height));
}

/** @param {Rows} image @param {number} width */
function resizedRows(image, width) {
  const filter = width === image.width ? null : filterOf(image.width, width);
  const out = new Uint8Array(3 * width * image.height);
  for (let top = 0; top < image.height; top += BAND) {
    const count = Math.min(BAND, image.height - top);
    const rows = image.rows(top, count);
    if (filter) resizeRows(rows, image.width, count, filter, out.subarray(3 * width * top));
    else out.set(rows, 3 * width * top);
  }
  return out;
}

/** @param {Uint8Array} pixels @param {number} width @param {number} top @param {number} count */
function part(pixels, width, top, count) {
  return pixels.subarray(3 * width * top, 3 * width * (top + count));
}

// PNG files of rows that are computed a band at a time.

import { compressed, crc32 } from "./compression.js";

/** @typedef {import("../model/geometry.js").Size} Size */
/** @typedef {(top: number, count: number) => Uint8Array} ReadRows returns the bytes of the rows from `top` on */
/** @typedef {"gray" | "gray16" | "rgb" | "rgba" | "indexed"} Layout of a pixel; gray16 is big-endian */
/** @typedef {{ depth: number, color: number, bytes: number, filter: (row: Uint8Array, above: Uint8Array, out: Uint8Array, bytes: number) => void }} Form */

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const BAND = 2 ** 22; // bytes that are read at a time
const UP = 2;
const PAETH = 4;

/** @type {Record<Layout, Form>} */
const FORMS = {
  gray: { depth: 8, color: 0, bytes: 1, filter: up },
  gray16: { depth: 16, color: 0, bytes: 2, filter: up },
  rgb: { depth: 8, color: 2, bytes: 3, filter: paeth },
  rgba: { depth: 8, color: 6, bytes: 4, filter: paeth },
  indexed: { depth: 8, color: 3, bytes: 1, filter: up },
};

/** Return a PNG file. @param {Size} size @param {Layout} layout @param {ReadRows} rows @param {Uint8Array} [palette] RGB of each index */
export async function encodePng(size, layout, rows, palette) {
  const { depth, color } = FORMS[layout];
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, size.width);
  new DataView(header.buffer).setUint32(4, size.height);
  header.set([depth, color], 8);
  const pixels = await compressed(filtered(size, FORMS[layout], rows), "deflate");
  const colors = palette ? chunk("PLTE", palette) : [];
  const end = chunk("IEND", new Uint8Array(0));
  return joined([SIGNATURE, ...chunk("IHDR", header), ...colors, ...chunk("IDAT", pixels), ...end]);
}

/** Yield the filtered rows of a band at a time. @param {Size} size @param {Form} form @param {ReadRows} rows */
function* filtered({ width, height }, { bytes, filter }, rows) {
  const stride = width * bytes;
  const step = Math.max(1, Math.floor(BAND / stride));
  /** @type {Uint8Array} */
  let above = new Uint8Array(stride);
  for (let top = 0; top < height; top += step) {
    const count = Math.min(step, height - top);
    const band = rows(top, count);
    const out = new Uint8Array(count * (stride + 1));
    for (let index = 0; index < count; index++) {
      const row = band.subarray(index * stride, (index + 1) * stride);
      filter(row, above, out.subarray(index * (stride + 1), (index + 1) * (stride + 1)), bytes);
      above = row;
    }
    yield out;
  }
}

/** Subtract the row above, which suits maps. @param {Uint8Array} row @param {Uint8Array} above @param {Uint8Array} out */
function up(row, above, out) {
  out[0] = UP;
  for (let index = 0; index < row.length; index++) out[index + 1] = row[index] - above[index];
}

/** Subtract the most similar neighbor, which suits photos. @param {Uint8Array} row @param {Uint8Array} above @param {Uint8Array} out @param {number} bytes of a pixel */
function paeth(row, above, out, bytes) {
  out[0] = PAETH;
  for (let index = 0; index < row.length; index++) {
    const [left, corner] = index < bytes ? [0, 0] : [row[index - bytes], above[index - bytes]];
    const upper = above[index];
    const toLeft = Math.abs(upper - corner);
    const toUpper = Math.abs(left - corner);
    const toCorner = Math.abs(left + upper - 2 * corner);
    const nearest = toLeft <= toUpper && toLeft <= toCorner ? left : toUpper <= toCorner ? upper : corner;
    out[index + 1] = row[index] - nearest;
  }
}

/** @param {string} name @param {Uint8Array} content */
function chunk(name, content) {
  const type = new TextEncoder().encode(name);
  return [uint32(content.length), type, content, uint32(crc32(type, content))];
}

/** @param {number} value */
function uint32(value) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}

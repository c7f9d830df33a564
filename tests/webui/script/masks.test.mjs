import assert from "node:assert/strict";
import { test } from "node:test";

import { fillRuns, outlines, runEnds, segmentMap, unpack } from "../static/masks.js";

/** Write a mask, rows of "." and "#", as the server does. */
function packed(rows) {
  const pixels = rows.join("");
  const bytes = [];
  let [run, inside] = [0, false];
  const end = () => {
    for (; run > 127; run >>>= 7) bytes.push((run & 127) | 128);
    bytes.push(run);
  };
  for (const pixel of pixels) {
    if ((pixel === "#") !== inside) {
      end();
      [run, inside] = [0, !inside];
    }
    run++;
  }
  if (inside) end();
  return Buffer.from(bytes).toString("base64");
}

const sizeOf = (rows) => ({ width: rows[0].length, height: rows.length });
const RING = ["......", ".####.", ".#..#.", ".####.", "......"];

/** The Path2D of a browser, recorded as closed rings of corners. */
globalThis.Path2D = class {
  rings = [];
  moveTo(x, y) { this.rings.push([[x, y]]); }
  lineTo(x, y) { this.rings.at(-1).push([x, y]); }
  closePath() { this.rings.at(-1).closed = true; }
};

const twiceArea = (ring) => ring.reduce((sum, [x, y], index) => {
  const [nextX, nextY] = ring[(index + 1) % ring.length];
  return sum + x * nextY - nextX * y;
}, 0);

test("runs are read, those longer than a byte too", () => {
  assert.deepEqual(runEnds(""), []);
  assert.deepEqual(runEnds(packed(["..##"])), [2, 4]);
  const long = ".".repeat(300) + "#".repeat(70000);
  assert.deepEqual(runEnds(packed([long])), [300, 70300]);
});

test("a mask is unpacked to its pixels", () => {
  const pixels = unpack(packed(RING), sizeOf(RING));
  assert.deepEqual([...pixels], [...RING.join("")].map((pixel) => Number(pixel === "#")));
});

test("a color is written where the mask is, and nowhere else", () => {
  const pixels = new Uint32Array(4);
  fillRuns(pixels, packed([".##."]), [46, 125, 255]);
  assert.deepEqual([...new Uint8Array(pixels.buffer, 4, 4)], [46, 125, 255, 255]);
  assert.deepEqual([pixels[0], pixels[1] === pixels[2], pixels[3]], [0, true, 0]);
});

test("outlines go around the outside and around each hole, in opposite directions", () => {
  const { rings } = outlines(packed(RING), sizeOf(RING));
  assert.equal(rings.length, 2);
  assert.ok(rings.every((ring) => ring.closed));
  const [outside, hole] = rings.map(twiceArea);
  assert.ok(outside > 0 && hole < 0);
  assert.deepEqual(rings.map((ring) => ring.length), [14, 6]); // one corner for each edge of a pixel
});

test("pixels that touch at a corner are outlined apart", () => {
  assert.equal(outlines(packed(["#.", ".#"]), { width: 2, height: 2 }).rings.length, 2);
});

test("the smaller of two segments lies on top", () => {
  const whole = ["####", "####"];
  const part = ["....", ".##."];
  const segments = [{ rle: packed(part), area: 2 }, { rle: packed(whole), area: 8 }];
  assert.deepEqual([...segmentMap(segments, { width: 4, height: 2 })], [2, 2, 2, 2, 2, 1, 1, 2]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { boundsOf, bySize, indexMap, runEnds, traceOutlines, unpack } from "../static/masks.js";

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

/** Return the outlines of a mask as rings of corners. */
function outlines(rows) {
  const rings = [];
  const whole = { x: 0, y: 0, ...sizeOf(rows) };
  traceOutlines(unpack(runEnds(packed(rows)), whole.width, whole), whole, {
    move: (x, y) => rings.push([[x, y]]),
    line: (x, y) => rings.at(-1).push([x, y]),
    close: () => { rings.at(-1).closed = true; },
  });
  return rings;
}

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

test("a mask is unpacked to its pixels, whole or in part", () => {
  const ends = runEnds(packed(RING));
  const pixels = unpack(ends, 6, { x: 0, y: 0, width: 6, height: 5 });
  assert.deepEqual([...pixels], [...RING.join("")].map((pixel) => Number(pixel === "#")));
  assert.deepEqual([...unpack(ends, 6, boundsOf(ends, 6))], [1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1]);
});

test("the bounds of a mask are those of its pixels", () => {
  const bounds = (rows) => boundsOf(runEnds(packed(rows)), rows[0].length);
  assert.deepEqual(bounds(RING), { x: 1, y: 1, width: 4, height: 3 });
  assert.deepEqual(bounds(["...", "..#"]), { x: 2, y: 1, width: 1, height: 1 });
  assert.deepEqual(bounds(["..#", "#.."]), { x: 0, y: 0, width: 3, height: 2 }, "a run that goes on in the next row");
  assert.deepEqual(bounds(["...", "..."]), { x: 0, y: 0, width: 0, height: 0 });
});

test("a run over several rows is unpacked in each of them", () => {
  const rows = ["..##", "####", "#..."];
  const ends = runEnds(packed(rows));
  assert.deepEqual([...unpack(ends, 4, boundsOf(ends, 4))], [...rows.join("")].map((pixel) => Number(pixel === "#")));
});

test("outlines go around the outside and around each hole, in opposite directions", () => {
  const rings = outlines(RING);
  assert.equal(rings.length, 2);
  assert.ok(rings.every((ring) => ring.closed));
  const [outside, hole] = rings.map(twiceArea);
  assert.ok(outside > 0 && hole < 0);
  assert.deepEqual(rings.map((ring) => ring.length), [14, 6]); // one corner for each edge of a pixel
});

test("pixels that touch at a corner are outlined apart", () => {
  assert.equal(outlines(["#.", ".#"]).length, 2);
});

test("the smaller of two masks lies on top", () => {
  const layers = [["....", ".##."], ["####", "####"]].map((rows) => ({ ends: runEnds(packed(rows)) }));
  assert.deepEqual(bySize(layers), [1, 0]);
  assert.deepEqual([...indexMap(layers, { width: 4, height: 2 })], [2, 2, 2, 2, 2, 1, 1, 2]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { boxBetween, fit, nearestPixel, pixelAt, placeOf } from "../static/geometry.js";

const VIEWS = [{ width: 900, height: 600 }, { width: 360, height: 300 }, { width: 1613, height: 77 }];
const IMAGES = [{ width: 451, height: 300 }, { width: 1, height: 1 }, { width: 4000, height: 3000 }, { width: 7, height: 900 }];

test("an image lies in the middle, whole, and as large as allowed", () => {
  assert.deepEqual(fit({ width: 900, height: 600 }, { width: 300, height: 100 }), { scale: 3, left: 0, top: 150, width: 300, height: 100 });
  assert.deepEqual(fit({ width: 900, height: 600 }, { width: 300, height: 100 }, 2), { scale: 2, left: 150, top: 200, width: 300, height: 100 });
});

test("the middle of every pixel leads back to it, in every view", () => {
  for (const view of VIEWS) {
    for (const image of IMAGES) {
      const fitted = fit(view, image);
      for (const x of [0, image.width >> 1, image.width - 1]) {
        for (const y of [0, image.height >> 1, image.height - 1]) {
          const place = placeOf(fitted, x, y);
          assert.deepEqual(pixelAt(fitted, place.x, place.y), { x, y });
          assert.deepEqual(nearestPixel(fitted, place.x, place.y), { x, y });
        }
      }
    }
  }
});

test("outside the image there is no pixel, and the nearest one is on its edge", () => {
  const fitted = fit({ width: 100, height: 50 }, { width: 10, height: 10 });
  assert.equal(pixelAt(fitted, 24.9, 10), null);
  assert.deepEqual(pixelAt(fitted, 25, 0), { x: 0, y: 0 });
  assert.equal(pixelAt(fitted, 75, 10), null);
  assert.deepEqual(nearestPixel(fitted, 99, -5), { x: 9, y: 0 });
});

test("a drag draws a box whichever way it goes, and one without area none", () => {
  const fitted = fit({ width: 100, height: 100 }, { width: 10, height: 10 });
  assert.deepEqual(boxBetween(fitted, { x: 75, y: 85 }, { x: 15, y: 25 }), [1, 2, 7, 8]);
  assert.deepEqual(boxBetween(fitted, { x: -40, y: 5 }, { x: 500, y: 95 }), [0, 0, 9, 9]);
  assert.equal(boxBetween(fitted, { x: 15, y: 25 }, { x: 95, y: 29 }), null);
  assert.equal(boxBetween(fitted, { x: 15, y: 25 }, { x: 15, y: 25 }), null);
});

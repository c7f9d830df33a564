import assert from "node:assert/strict";
import { test } from "node:test";

import { boxBetween, cropOf, fitOf, fitWhole, nearestPixel, panned, pixelAt, placeOf, showing, shows, zoomed, zoomedTo } from "../static/viewport.js";

const VIEWS = [{ width: 900, height: 600 }, { width: 360, height: 300 }, { width: 1613, height: 77 }];
const IMAGES = [{ width: 451, height: 300 }, { width: 1, height: 1 }, { width: 4000, height: 3000 }, { width: 7, height: 900 }];
const close = (one, other) => assert.ok(Math.abs(one - other) < 1e-6, `${one} is not ${other}`);

test("an image lies in the middle, whole, and is enlarged only so far", () => {
  assert.deepEqual(fitWhole({ width: 900, height: 600 }, { width: 300, height: 100 }), { scale: 3, left: 0, top: 150, width: 300, height: 100 });
  assert.equal(fitWhole({ width: 9000, height: 6000 }, { width: 300, height: 100 }).scale, 3);
  assert.equal(fitWhole({ width: 9000, height: 6000 }, { width: 2, height: 1 }).scale, 128);
});

test("the middle of every pixel leads back to it, in every view and at every zoom", () => {
  for (const view of VIEWS) {
    for (const image of IMAGES) {
      const near = zoomed(view, image, null, 7, { x: 11, y: 13 });
      for (const viewport of [null, near, panned(view, image, near, 31, -17)]) {
        const fit = fitOf(view, image, viewport);
        for (const x of [0, image.width >> 1, image.width - 1]) {
          for (const y of [0, image.height >> 1, image.height - 1]) {
            const place = placeOf(fit, x, y);
            assert.deepEqual(pixelAt(fit, place), { x, y });
            assert.deepEqual(nearestPixel(fit, place), { x, y });
          }
        }
      }
    }
  }
});

test("a zoom keeps the pixel under the pointer, unless that would leave a gap at the border", () => {
  const [view, image] = [{ width: 900, height: 600 }, { width: 4000, height: 3000 }];
  const at = { x: 400, y: 310 };
  const before = fitOf(view, image, null);
  const pixel = { x: (at.x - before.left) / before.scale, y: (at.y - before.top) / before.scale };
  let viewport = null;
  for (const factor of [3, 1.7, 0.9, 2]) {
    viewport = zoomed(view, image, viewport, factor, at);
    const fit = fitOf(view, image, viewport);
    close(fit.left + pixel.x * fit.scale, at.x);
    close(fit.top + pixel.y * fit.scale, at.y);
  }
  const corner = fitOf(view, image, zoomed(view, image, null, 8, { x: 60, y: 0 }));
  assert.ok(corner.left <= 0 && corner.top <= 0);
});

test("a zoom ends at the whole image and at sixteen times its size", () => {
  const [view, image] = [{ width: 900, height: 600 }, { width: 4000, height: 3000 }];
  const near = zoomed(view, image, null, 1e9, { x: 1, y: 1 });
  assert.equal(near.scale, 16);
  assert.equal(zoomed(view, image, near, 1e-9, { x: 1, y: 1 }), null);
  assert.equal(zoomedTo(view, image, null, 1, { x: 450, y: 300 }).scale, 1);
});

test("a movement never shows less of the image than it could", () => {
  const [view, image] = [{ width: 900, height: 600 }, { width: 4000, height: 3000 }];
  const near = zoomedTo(view, image, null, 1, { x: 450, y: 300 });
  const far = fitOf(view, image, panned(view, image, near, 1e6, -1e6));
  assert.deepEqual([far.left, far.top], [0, 600 - 3000]);
  assert.equal(panned(view, image, null, 50, 50), null, "the whole image does not move");
  const tall = { width: 100, height: 3000 };
  const narrow = fitOf(view, tall, panned(view, tall, zoomedTo(view, tall, null, 1, { x: 0, y: 0 }), 300, 0));
  assert.equal(narrow.left, 400, "and where it is narrower than the view it is centered");
});

test("a pixel that the crosshair reaches comes into the view", () => {
  const [view, image] = [{ width: 900, height: 600 }, { width: 4000, height: 3000 }];
  const viewport = showing(view, image, zoomedTo(view, image, null, 1, { x: 450, y: 300 }), { x: 3999, y: 5 });
  const place = placeOf(fitOf(view, image, viewport), 3999, 5);
  assert.ok(place.x < 900 && place.y > 0);
});

test("outside the image there is no pixel, and the nearest one is on its edge", () => {
  const fit = fitWhole({ width: 100, height: 50 }, { width: 10, height: 10 });
  assert.equal(fit.scale, 5);
  assert.equal(pixelAt(fit, { x: 24.9, y: 10 }), null);
  assert.deepEqual(pixelAt(fit, { x: 25, y: 0 }), { x: 0, y: 0 });
  assert.equal(pixelAt(fit, { x: 75, y: 10 }), null);
  assert.deepEqual(nearestPixel(fit, { x: 99, y: -5 }), { x: 9, y: 0 });
});

test("a drag draws a box whichever way it goes, and one without area none", () => {
  assert.deepEqual(boxBetween({ x: 7, y: 8 }, { x: 1, y: 2 }), [1, 2, 7, 8]);
  assert.equal(boxBetween({ x: 1, y: 2 }, { x: 9, y: 2 }), null);
  assert.equal(boxBetween({ x: 1, y: 2 }, { x: 1, y: 9 }), null);
});

test("a crop is fetched where the preview is enlarged, and lies in the image", () => {
  const [view, image, shown] = [{ width: 900, height: 600 }, { width: 6000, height: 4000 }, { width: 2048, height: 1365 }];
  assert.equal(cropOf(view, image, null, shown, 1), null);
  const area = cropOf(view, image, zoomedTo(view, image, null, 1, { x: 0, y: 0 }), shown, 1);
  assert.deepEqual([area.x, area.y], [0, 0]);
  assert.ok(area.width > 900 && area.height > 600 && area.width < 1200);
  assert.equal(cropOf(view, shown, zoomedTo(view, shown, null, 4, { x: 0, y: 0 }), shown, 1), null, "the preview is the image");
  assert.ok(cropOf(view, image, null, shown, 3), "on a screen with small pixels it is enlarged sooner");
});

test("a crop that shows the view is kept, and one that is blurred or beside it is not", () => {
  const area = { x: 100, y: 0, width: 1000, height: 500 };
  assert.equal(shows(area, 1, area, 1), true);
  assert.equal(shows({ ...area, x: 150, width: 900 }, 1, area, 1), true);
  assert.equal(shows({ ...area, x: 250 }, 1, area, 1), false);
  assert.equal(shows({ ...area, y: 10 }, 1, area, 1), false, "at the border of the image there is no margin");
  assert.equal(shows(area, 0.9, area, 1), false);
});

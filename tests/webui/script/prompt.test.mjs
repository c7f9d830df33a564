import assert from "node:assert/strict";
import { test } from "node:test";

import { hasObject, isMarked, NOTHING, withBox, withPoint } from "../static/prompt.js";

test("points and a box add up to one prompt, and the earlier one stays", () => {
  const one = withPoint(NOTHING, [1, 2, 1]);
  const two = withBox(withPoint(one, [3, 4, 0]), [1, 1, 9, 9]);
  assert.deepEqual(two, { points: [[1, 2, 1], [3, 4, 0]], box: [1, 1, 9, 9], steps: [], chosen: null });
  assert.deepEqual(one.points, [[1, 2, 1]]);
  assert.deepEqual(NOTHING.points, []);
});

test("a point or a box is a mark, and background points alone are no object", () => {
  const background = withPoint(NOTHING, [1, 2, 0]);
  assert.deepEqual([NOTHING, background, withBox(NOTHING, [1, 1, 2, 2])].map(isMarked), [false, true, true]);
  assert.deepEqual([NOTHING, background, withPoint(background, [3, 4, 1]), withBox(background, [1, 1, 2, 2])].map(hasObject), [false, false, true, true]);
});

test("a mark after a choice turns the prompt into a step, which keeps the choice", () => {
  const chosen = { ...withPoint(NOTHING, [1, 2, 1]), chosen: 2 };
  const next = withPoint(chosen, [3, 4, 0]);
  assert.deepEqual(next.steps, [{ points: [[1, 2, 1]], box: null, steps: [], chosen: 2 }]);
  assert.deepEqual([next.points, next.chosen], [[[1, 2, 1], [3, 4, 0]], null]);
  const third = withBox({ ...next, chosen: 0 }, [0, 0, 5, 5]);
  assert.deepEqual(third.steps.map((step) => [step.points.length, step.chosen, step.steps.length]), [[1, 2, 0], [2, 0, 0]]);
  assert.equal(withPoint(withPoint(NOTHING, [1, 2, 1]), [3, 4, 1]).steps.length, 0, "without a choice there is none");
});

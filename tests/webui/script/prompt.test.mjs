import assert from "node:assert/strict";
import { test } from "node:test";

import { after, choices, hasObject, marks, NOTHING } from "../static/prompt.js";
import { duration } from "../static/view.js";

test("marks under way are shown before the server has them", () => {
  const prompt = { points: [[1, 2, 1]], box: null };
  const actions = [{ do: "point", x: 3, y: 4, label: 0 }, { do: "box", box: [1, 1, 9, 9] }, { do: "undo" }];
  assert.deepEqual(after(prompt, actions), { points: [[1, 2, 1], [3, 4, 0]], box: [1, 1, 9, 9] });
  assert.deepEqual(after(prompt, [{ do: "clear" }, { do: "point", x: 5, y: 6, label: 1 }]), { points: [[5, 6, 1]], box: null });
  assert.deepEqual(prompt, { points: [[1, 2, 1]], box: null }, "the prompt itself stays");
});

test("a point or a box is a mark", () => {
  assert.equal(marks(NOTHING), false);
  assert.equal(marks({ points: [[1, 2, 0]], box: null }), true);
  assert.equal(marks({ points: [], box: [1, 1, 2, 2] }), true);
});

test("background points alone are no object", () => {
  assert.equal(hasObject(NOTHING), false);
  assert.equal(hasObject({ points: [[1, 2, 0]], box: null }), false);
  assert.equal(hasObject({ points: [[1, 2, 0], [3, 4, 1]], box: null }), true);
  assert.equal(hasObject({ points: [[1, 2, 0]], box: [1, 1, 2, 2] }), true);
});

test("a prompt says whether a mask was chosen", () => {
  assert.equal(choices(NOTHING), false);
  assert.equal(choices({ ...NOTHING, steps: [], chosen: 0 }), true);
  assert.equal(choices({ ...NOTHING, steps: [{ points: [[1, 2, 1]], box: null, chosen: 2 }], chosen: null }), true);
});

test("times are shown as precisely as they are known", () => {
  assert.deepEqual([0.4, 18.3, 123.4, 9940, 12345].map(duration), ["0 ms", "18 ms", "120 ms", "9940 ms", "12 s"]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { seconds } from "../static/render.js";

test("times are shown in seconds, as precisely as they are known", () => {
  assert.deepEqual([0.4, 18.3, 123.4, 1840, 9940, 12345].map(seconds), ["0.00 s", "0.02 s", "0.12 s", "1.8 s", "9.9 s", "12 s"]);
});

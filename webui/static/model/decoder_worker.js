// A worker of everything mode: it decodes some of the points of an image.

import { open } from "./loading.js";
import { Points } from "./points.js";
import { serve } from "./serving.js";

/** @type {import("./loading.js").Model | null} */
let model = null;
/** @type {Points | null} */
let points = null;

serve({
  async open(base) {
    model = await open(base, { threads: 1, roles: ["score", "upscale"] });
  },
  /** @param {{ image: import("./decoders.js").SharedImage, settings: import("./points.js").CheckedSettings }} image */
  setImage({ image: { frame, tokens }, settings }) {
    if (!model) throw new Error("The model is not open.");
    const { predictor } = model;
    predictor.setTokens(predictor.runner.tensors(tokens), frame);
    points = new Points(model, settings);
  },
  decode: (/** @type {number[]} */ indices) => points?.decode(indices),
});

// The worker of MobileSam: it opens the model and runs it.

import { everything } from "./everything.js";
import { open } from "./loading.js";
import { rowsOf } from "./pixels.js";
import { serve } from "./serving.js";

/** @type {import("./loading.js").Model | null} */
let model = null;

function opened() {
  if (!model) throw new Error("The model is not open.");
  return model;
}

serve({
  async open({ base, threads, webgpu }, { progress }) {
    model = await open(base, { threads, webgpu, onDownload: progress });
    return model.note;
  },
  async setImage(/** @type {ImageData | ImageBitmap} */ source) {
    await opened().predictor.setImage(rowsOf(source));
    if (source instanceof ImageBitmap) source.close();
  },
  predict: (prompt) => opened().predictor.predict(prompt),
  predictOne: (prompt) => opened().predictor.predictOne(prompt),
  everything: (settings, { progress, isCanceled }) => everything(opened(), settings, { mustStop: isCanceled, onProgress: progress }),
});

// The worker of MobileSam: it opens the model and does what the messages of mobilesam.js ask for, one after another.

import { everything } from "./everything.js";
import { open } from "./loading.js";
import { rowsOf } from "./pixels.js";

/** @typedef {import("./loading.js").Model} Model */
/** @typedef {{ id: number, method: string, argument: any }} Request */

/** @type {Model | null} */
let model = null;
/** @type {Promise<unknown>} */
let last = Promise.resolve();
/** The runs of everything mode that are to end. @type {Set<number>} */
const canceled = new Set();
const turn = new MessageChannel();

function opened() {
  if (!model) throw new Error("The model is not open.");
  return model;
}

/** @type {Record<string, (argument: any, id: number) => Promise<unknown>>} */
const METHODS = {
  async open({ base, threads }, id) {
    model = await open(base, { threads, onDownload: (...progress) => postMessage({ id, progress }) });
  },
  async setImage(/** @type {ImageData | ImageBitmap} */ source) {
    await opened().predictor.setImage(rowsOf(source));
    if (source instanceof ImageBitmap) source.close();
  },
  predict: (prompt) => opened().predictor.predict(prompt),
  predictOne: (prompt) => opened().predictor.predictOne(prompt),
  everything: (settings, id) => everything(opened(), settings, {
    async mustStop() {
      await new Promise((resolve) => { // lets messages in
        turn.port1.onmessage = resolve;
        turn.port2.postMessage(null);
      });
      return canceled.has(id);
    },
    onProgress: (...progress) => postMessage({ id, progress }),
  }),
  async close() {
    await model?.predictor.runner.release();
    model = null;
  },
};

/** @param {Request} request */
async function respond({ id, method, argument }) {
  try {
    postMessage({ id, result: await METHODS[method](argument, id) });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    postMessage({ id, error: { name, message } });
  }
  canceled.delete(id);
}

addEventListener("message", ({ data }) => {
  if (data.method === "cancel") canceled.add(data.argument);
  else last = last.then(() => respond(data));
});

// The worker of the page: it opens the model, and decodes the image that the page shows, or has its embedding from a server.

import { InputError } from "./errors.js";
import { frameOf } from "./geometry.js";
import { float32Of } from "./half.js";
import { open } from "./loading.js";
import { Objects } from "./objects.js";
import { OpenedImage } from "./opened_image.js";
import { rowsOf } from "./pixels.js";
import { fromCoco } from "./rle.js";
import { serve } from "./serving.js";

/** @type {Objects | null} */
let objects = null;
/** @type {OpenedImage | null} the image whose masks are decoded */
let image = null;
/** @type {OpenedImage | null} a decoded file that takes the place of `image` when it is encoded */
let next = null;
let encoded = ""; // the key of the image that the model has

function masks() {
  if (!objects) throw new Error("The model is not open.");
  return objects;
}

/** @param {string} key */
function opened(key) {
  const match = [next, image].find((each) => each?.key === key);
  if (!match) throw new InputError("Another image was opened. Open this one again.");
  return match;
}

/** Return the masks of an image, if the model has it. @param {string} key */
function masksOf(key) {
  if (encoded !== key) throw new InputError("The model does not have this image. Open it again.");
  return masks();
}

/** Forget the image that the model has. */
function forget() {
  masks().reset();
  masks().model.predictor.clear();
  encoded = "";
}

serve({
  async open({ base, threads, webgpu }, { progress }) {
    const model = await open(base, { threads, webgpu, onDownload: (_, done, total) => progress(done, total) });
    objects = new Objects(model);
    return model.note;
  },

  /** Decode a file and return what the page shows of it. The earlier image stays until this one is encoded. */
  async openImage(/** @type {File} */ file) {
    const made = await OpenedImage.open(file);
    next?.close();
    next = made;
    return { key: made.key, ...made.size, shown: made.shown, preview: await made.preview() };
  },

  async encode({ key }) {
    const start = performance.now();
    const chosen = opened(key);
    forget();
    if (image !== chosen) image?.close();
    [image, next] = [chosen, null];
    try {
      await masks().model.predictor.setImage(rowsOf(chosen.bitmap));
    } catch (error) {
      throw new InputError(`This image cannot be encoded (${error instanceof Error ? error.message : error}). Close other tabs and open it again, or resize it.`);
    }
    encoded = key;
    return performance.now() - start;
  },

  setEmbedding({ key, embedding, size }) {
    forget();
    masks().model.predictor.setEmbedding(float32Of(new Uint16Array(embedding)), frameOf(size));
    encoded = key;
  },

  crop: ({ key, area, side }) => opened(key).crop(area, side),
  predict: (request) => masksOf(request.key).predict(request),
  freeze: (request) => masksOf(request.key).freeze(request),
  everything: (request, { progress, isCanceled }) => masksOf(request.key).everything(request, { mustStop: isCanceled, onProgress: progress }),
  freezeSegments: ({ key, run, segments, shown }) => masksOf(key).frozenSegments(run, segments, shown),

  /** Return a file of objects, as the page has them, or of segments: all if none is selected. */
  async save({ key, kind, name, what: { objects: kept, run, selected } }) {
    const { save } = await import("../formats/saving.js"); // which no page of a server needs
    const { bitmap } = opened(key);
    const chosen = kept
      ? kept.map((/** @type {any} */ each) => ({ ...each, boundaries: fromCoco(each.segmentation), prompt: each.prompt ?? null, label: each.label ?? "" }))
      : masksOf(key).segmentsOf(run, selected).map((segment) => ({ ...segment, label: "", prompt: null }));
    return save(kind, { name, width: bitmap.width, height: bitmap.height, bitmap }, chosen);
  },
}, ["openImage", "crop", "predict", "freeze"]);

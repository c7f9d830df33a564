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
/** @type {OpenedImage | null} */
let image = null;

function masks() {
  if (!objects) throw new Error("The model is not open.");
  return objects;
}

function opened() {
  if (!image) throw new InputError("No image is open. Open one first.");
  return image;
}

serve({
  async open({ base, threads }, { progress }) {
    const model = await open(base, { threads, onDownload: (_, done, total) => progress(done, total) });
    objects = new Objects(model);
    return model.note;
  },

  /** Decode a file and return what the page shows of it. The earlier image stays if it cannot be decoded. */
  async openImage(/** @type {File} */ file) {
    const next = await OpenedImage.open(file);
    image?.close();
    image = next;
    return { key: image.key, ...image.size, shown: image.shown, preview: await image.preview() };
  },

  async encode() {
    const start = performance.now();
    masks().reset();
    await masks().model.predictor.setImage(rowsOf(opened().bitmap));
    return performance.now() - start;
  },

  setEmbedding({ embedding, size }) {
    masks().reset();
    masks().model.predictor.setEmbedding(float32Of(new Uint16Array(embedding)), frameOf(size));
  },

  crop: ({ area, side }) => opened().crop(area, side),
  predict: (request) => masks().predict(request),
  freeze: (request) => masks().freeze(request),
  everything: (request, { progress, isCanceled }) => masks().everything(request, { mustStop: isCanceled, onProgress: progress }),
  freezeSegments: ({ segments, shown }) => masks().frozenSegments(segments, shown),

  /** Return a file of objects, as the page has them, or of segments: all if none is selected. */
  async save({ kind, name, what: { objects: kept, selected } }) {
    const { save } = await import("../formats/saving.js"); // which no page of a server needs
    const { segments } = masks();
    const { bitmap } = opened();
    const chosen = kept
      ? kept.map((/** @type {any} */ each) => ({ ...each, boundaries: fromCoco(each.segmentation), prompt: each.prompt ?? null, label: each.label ?? "" }))
      : (selected.length ? [...selected].sort((one, other) => one - other).map((index) => segments[index]) : segments)
        .map((segment) => ({ ...segment, label: "", prompt: null }));
    return save(kind, { name, width: bitmap.width, height: bitmap.height, bitmap }, chosen);
  },
}, ["crop", "predict", "freeze"]);

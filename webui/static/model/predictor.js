// One image and many prompts, see mobilesam/predictor.py.

import { InputError } from "./errors.js";
import { MASK_THRESHOLD } from "./geometry.js";
import { encoderInput } from "./pixels.js";
import { modelPrompt } from "./prompts.js";
import { confidencesOf, keptMask } from "./selection.js";
import { maskOf } from "./upsampling.js";

/** @typedef {import("./geometry.js").Frame} Frame */
/** @typedef {import("./prompts.js").Prompt} Prompt */
/** @typedef {import("./prompts.js").ModelPrompt} ModelPrompt */
/** @typedef {import("./runner.js").Runner} Runner */
/** @typedef {import("./selection.js").Choosers} Choosers */

/**
 * @typedef {object} Prediction
 * @property {Uint8Array[]} masks width * height zeros and ones each
 * @property {number} width of the image
 * @property {number} height of the image
 * @property {number[]} iouPredictions the predicted IoU of each mask
 * @property {Float32Array[]} lowResLogits 256 x 256 for each mask; one of them can be the next `maskInput`
 * @property {number | null} [confidence] of `predictOne`: the IoU to expect with the object that is meant, or null where
 *   it is not known
 *
 * @typedef {object} EncodedImage
 * @property {Float32Array} embedding 256 x 64 x 64
 * @property {Frame} frame
 * @property {import("./runner.js").ImageTokens} [tokens] what all prompts without a mask share
 */

const SINGLE_MASK = [0];
const MULTIMASK = [1, 2, 3];

export class Predictor {
  /** @type {EncodedImage | null} */
  #image = null;

  /** @param {Runner} runner @param {Choosers} choosers @param {Runner} [encoder] another runner for the encoder */
  constructor(runner, choosers, encoder = runner) {
    this.runner = runner;
    this.encoder = encoder;
    this.choosers = choosers;
  }

  /** Encode an image. A failure keeps the earlier one. @param {import("./resize.js").Rows} rows */
  async setImage(rows) {
    const { pixels, frame } = encoderInput(rows);
    this.setEmbedding(await this.encoder.encode(pixels), frame);
  }

  /** Set an image by its embedding. @param {Float32Array} embedding @param {Frame} frame */
  setEmbedding(embedding, frame) {
    this.#image = { embedding, frame };
  }

  /** Forget the image. */
  clear() {
    this.#image = null;
  }

  /** The image that is set. */
  get image() {
    if (!this.#image) throw new InputError("No image is set. Call setImage before predicting.");
    return this.#image;
  }

  /** Return what all prompts of the image share. @param {Float32Array} [maskInput] */
  async imageTokens(maskInput) {
    const image = this.image;
    if (maskInput) return this.runner.imageTokens(image.embedding, maskInput);
    image.tokens ??= await this.runner.imageTokens(image.embedding);
    return image.tokens;
  }

  /** Return three masks of a prompt, or one without `multimask`. @param {Prompt & { multimask?: boolean }} prompt @returns {Promise<Prediction>} */
  async predict({ multimask = true, ...prompt }) {
    const { logits, ious } = await this.decode(modelPrompt(prompt, this.image.frame));
    return this.#prediction(multimask ? MULTIMASK : SINGLE_MASK, logits, ious);
  }

  /** Return the mask of a prompt that most likely shows the object that is meant. @param {Prompt} prompt @returns {Promise<Prediction>} */
  async predictOne(prompt) {
    const ready = modelPrompt(prompt, this.image.frame);
    const { logits, ious } = await this.decode(ready);
    const confidences = confidencesOf(this.choosers, ready, logits, ious, this.image.frame);
    const index = keptMask(confidences, ready, logits, ious);
    return { ...this.#prediction([index], logits, ious), confidence: confidences?.[index] ?? null };
  }

  /** Return the logits and predicted IoUs of the four masks of a prompt. @param {ModelPrompt} prompt */
  async decode(prompt) {
    const scored = await this.runner.score(await this.imageTokens(prompt.maskInput), [prompt]);
    return { logits: await this.runner.upscale(scored, 0), ious: Array.from(scored.ious) };
  }

  /** @param {number[]} indices @param {Float32Array[]} logits @param {number[]} ious @returns {Prediction} */
  #prediction(indices, logits, ious) {
    const { frame } = this.image;
    return {
      masks: indices.map((index) => maskOf(logits[index], frame, MASK_THRESHOLD)),
      ...frame.original,
      iouPredictions: indices.map((index) => ious[index]),
      lowResLogits: indices.map((index) => logits[index].slice()),
    };
  }
}

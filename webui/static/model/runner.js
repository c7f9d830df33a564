// The graphs of a model on ONNX Runtime Web: the encoder, and the three graphs of the split decoder. See
// mobilesam/onnx/contract.py for their inputs and outputs.

import { coveredTokens, EMBED_DIM, GRID_SIZE, IMAGE_SIZE, LOGITS_SIZE, MASKS } from "./geometry.js";

/** @typedef {import("./geometry.js").Size} Size */
/** @typedef {import("./prompts.js").ModelPrompt} ModelPrompt */

/**
 * The part of onnxruntime-web that is used.
 * @typedef {{ data: Float32Array<ArrayBuffer>, dims: readonly number[] }} Tensor
 * @typedef {{ run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> }} Session
 * @typedef {object} Runtime
 * @property {{ wasm: { numThreads: number, wasmPaths: string | { mjs: string, wasm: string } }, logLevel: string }} env
 * @property {new (type: "float32", data: Float32Array, dims: number[]) => Tensor} Tensor
 * @property {{ create(model: Uint8Array, options: object): Promise<Session> }} InferenceSession
 *
 * @typedef {"encoder" | "image" | "score" | "upscale" | "expectation"} Role
 * @typedef {Record<string, Tensor>} ImageTokens
 */

/**
 * The scores of prompts, before masks are computed.
 * @typedef {object} Scored
 * @property {Float32Array} ious four predicted IoUs for each prompt
 * @property {Tensor} kernels
 * @property {Tensor} tokens image tokens of each prompt
 */

const TOKENS = GRID_SIZE * GRID_SIZE;
const NOT_MADE = -1e9; // logits that were not computed: below every threshold, and finite

const OPTIONS = {
  graphOptimizationLevel: "all",
  extra: { optimization: { disable_specified_optimizers: "SkipLayerNormFusion" } }, // as in mobilesam/onnx/sessions.py
};

export class Runner {
  /** @type {Runtime} */
  #runtime;
  /** @type {Partial<Record<Role, Session>>} */
  #sessions = {};

  /** @param {Runtime} runtime @param {"wasm" | "webgpu"} [provider] */
  constructor(runtime, provider = "wasm") {
    this.#runtime = runtime;
    this.provider = provider;
  }

  /** Open a graph. @param {Role} role @param {Uint8Array} model */
  async open(role, model) {
    this.#sessions[role] = await this.#runtime.InferenceSession.create(model, { ...OPTIONS, executionProviders: [this.provider] });
  }

  /** @param {Role} role @param {Record<string, Tensor>} feeds */
  #run(role, feeds) {
    const session = this.#sessions[role];
    if (!session) throw new Error(`The model has no graph ${role}.`);
    return session.run(feeds);
  }

  /** @param {Float32Array} data @param {number[]} dims */
  #tensor(data, ...dims) {
    return new this.#runtime.Tensor("float32", data, dims);
  }

  /** Return the embedding, 256 x 64 x 64, of the encoder's input. @param {Float32Array} pixels */
  async encode(pixels) {
    const outputs = await this.#run("encoder", { input_image: this.#tensor(pixels, 1, 3, IMAGE_SIZE, IMAGE_SIZE) });
    return outputs.image_embeddings.data;
  }

  /** Return what all prompts of an image share. @param {Float32Array} embedding @param {Float32Array} [maskInput] @returns {Promise<ImageTokens>} */
  imageTokens(embedding, maskInput) {
    return this.#run("image", {
      image_embeddings: this.#tensor(embedding, 1, EMBED_DIM, GRID_SIZE, GRID_SIZE),
      mask_input: this.#tensor(maskInput ?? new Float32Array(LOGITS_SIZE ** 2), 1, 1, LOGITS_SIZE, LOGITS_SIZE),
      has_mask_input: this.#tensor(Float32Array.of(maskInput ? 1 : 0), 1),
    });
  }

  /** Predict the IoU of the masks of prompts that have equally many points. @param {ImageTokens} tokens @param {Pick<ModelPrompt, "coords" | "labels">[]} prompts @returns {Promise<Scored>} */
  async score(tokens, prompts) {
    const count = prompts[0].labels.length;
    const outputs = await this.#run("score", {
      ...tokens,
      point_coords: this.#tensor(joined(prompts.map(({ coords }) => coords)), prompts.length, count, 2),
      point_labels: this.#tensor(joined(prompts.map(({ labels }) => labels)), prompts.length, count),
    });
    return { ious: outputs.iou_predictions.data, kernels: outputs.kernels, tokens: outputs.image_tokens };
  }

  /**
   * Return the logits of all four masks of a prompt, 256 x 256 each.
   * @param {Scored} scored @param {number} prompt its position
   * @param {Size} [input] the image in the model frame; logits that no pixel of it depends on may be NOT_MADE
   */
  async upscale(scored, prompt, input) {
    const { rows, columns } = input ? coveredTokens(input) : { rows: GRID_SIZE, columns: GRID_SIZE };
    const size = TOKENS * EMBED_DIM;
    const outputs = await this.#run("upscale", {
      kernels: this.#tensor(scored.kernels.data.subarray(prompt * MASKS * 32, (prompt + 1) * MASKS * 32), 1, MASKS, 32),
      image_tokens: this.#tensor(corner(scored.tokens.data.subarray(prompt * size, (prompt + 1) * size), rows, columns), 1, rows, columns, EMBED_DIM),
    });
    const { data, dims: [, , height, width] } = outputs.low_res_logits;
    return Array.from({ length: MASKS }, (_, mask) => completed(data.subarray(mask * height * width, (mask + 1) * height * width), width));
  }

  /** Return the logarithms of the masks to expect of a point in each cell of an embedding, 4 x 64 x 64. @param {Float32Array} embedding */
  async expectation(embedding) {
    const outputs = await this.#run("expectation", { image_embeddings: this.#tensor(embedding, 1, EMBED_DIM, GRID_SIZE, GRID_SIZE) });
    return outputs.log_rates.data;
  }
}

/** @param {Float32Array[]} parts */
function joined(parts) {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Return the upper left part of a grid of tokens. @param {Float32Array} tokens @param {number} rows @param {number} columns */
function corner(tokens, rows, columns) {
  if (columns === GRID_SIZE) return tokens.subarray(0, rows * GRID_SIZE * EMBED_DIM);
  const part = new Float32Array(rows * columns * EMBED_DIM);
  for (let row = 0; row < rows; row++) {
    const start = row * GRID_SIZE * EMBED_DIM;
    part.set(tokens.subarray(start, start + columns * EMBED_DIM), row * columns * EMBED_DIM);
  }
  return part;
}

/** Return logits as a whole square. @param {Float32Array<ArrayBuffer>} logits @param {number} width */
function completed(logits, width) {
  if (logits.length === LOGITS_SIZE ** 2) return logits;
  const whole = new Float32Array(LOGITS_SIZE ** 2).fill(NOT_MADE);
  for (let row = 0; row * width < logits.length; row++) whole.set(logits.subarray(row * width, (row + 1) * width), row * LOGITS_SIZE);
  return whole;
}

// Opening of a model: the runtime, the graphs, and what was learned on its weights.

import { InputError } from "./errors.js";
import { arraysOf, Files } from "./files.js";
import { Predictor } from "./predictor.js";
import { Runner } from "./runner.js";
import { gpuEncoder } from "./webgpu.js";

/** @typedef {import("./runner.js").Role} Role */
/** @typedef {import("./runner.js").Runtime} Runtime */
/** @typedef {import("./selection.js").Choosers} Choosers */
/** @typedef {{ least: { balanced: number, fast: number } }} Expectation the least new masks for which a point is decoded */
/** @typedef {{ predictor: Predictor, expectation: Expectation | null, note: string | null }} Model note: why the browser does not keep the files, or null */

// A module with one function that uses a vector instruction.
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
const DEFAULT_THREADS = 4; // at most: more need more memory, and are hardly faster

/**
 * Open the model of a folder.
 * @param {string} base the address of the folder
 * @param {{ threads?: number, webgpu?: boolean, onDownload?: import("./files.js").OnDownload }} options
 * @returns {Promise<Model>}
 */
export async function open(base, { threads, webgpu = false, onDownload }) {
  if (!globalThis.WebAssembly?.validate(SIMD)) throw new InputError("This browser has no WebAssembly SIMD, which the model needs. Use a newer browser.");
  const files = new Files(base, onDownload);
  await files.open();
  const { encoder, note } = webgpu ? await gpuEncoder(files, (paths) => runtimeOf(files, paths, threads)) : { note: "" };
  const runner = new Runner(await runtimeOf(files, files.manifest.runtime, threads));
  for (const [role, file] of Object.entries(files.manifest.graphs)) if (role !== "encoder" || !encoder) await runner.open(/** @type {Role} */ (role), await files.read(file));
  const { choosers, expectation } = await learnedOf(files);
  await files.removeOthers();
  return { predictor: new Predictor(runner, choosers, encoder), expectation, note: [note, files.note].filter(Boolean).join(" ") || null };
}

/** @param {Files} files @param {{ module: string, mjs: string, wasm: string }} paths @param {number} [threads] @returns {Promise<Runtime>} */
async function runtimeOf(files, { module, mjs, wasm }, threads) {
  /** @type {Runtime} */
  let runtime;
  try {
    runtime = await import(files.address(module));
  } catch (error) {
    throw new InputError(`${files.address(module)} cannot be loaded (${error instanceof Error ? error.message : error}). Write the folder again with: mobilesam site`);
  }
  runtime.env.logLevel = "error";
  Object.assign(runtime.env.wasm, { wasmPaths: { mjs: files.address(mjs) }, wasmBinary: await files.read(wasm) });
  // Several threads share memory, which browsers allow on isolated pages alone.
  runtime.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads ?? Math.min(DEFAULT_THREADS, navigator.hardwareConcurrency || 1) : 1;
  return runtime;
}

/** @param {Files} files @returns {Promise<{ choosers: Choosers, expectation: Expectation | null }>} */
async function learnedOf(files) {
  if (!files.manifest.learned) return { choosers: {}, expectation: null };
  const { chooser, box_chooser, expectation } = JSON.parse(new TextDecoder().decode(await files.read(files.manifest.learned)));
  // Each is null unless it was learned on the weights of the model.
  const arrays = (/** @type {Record<string, string> | null} */ texts) => /** @type {import("./chooser.js").Learned | undefined} */ (/** @type {unknown} */ (arraysOf(texts)));
  return { choosers: { point: arrays(chooser), box: arrays(box_chooser) }, expectation };
}

// The encoder on a GPU, by WebGPU: only on request, and only where it gives the embedding that Python gave.

import { IMAGE_SIZE } from "./geometry.js";
import { Runner } from "./runner.js";

/** @typedef {import("./files.js").Files} Files */

const STEP = 128; // of the values of an embedding, one is compared; as in export/site_model.py
const TOLERANCE = 0.02; // of values of about 1: other orders of summation give 1e-4, wrong kernels far more

/**
 * Return the encoder on the GPU, or why there is none.
 * @param {Files} files
 * @param {(paths: { module: string, mjs: string, wasm: string }) => Promise<import("./runner.js").Runtime>} load returns the runtime of files
 * @returns {Promise<{ encoder?: Runner, note: string }>}
 */
export async function gpuEncoder(files, load) {
  const { webgpu, graphs } = files.manifest;
  if (!webgpu) return { note: "This folder has no files for WebGPU, so the processor encodes. Write it with: mobilesam site --webgpu" };
  const { gpu } = /** @type {{ gpu?: { requestAdapter(): Promise<unknown> } }} */ (/** @type {unknown} */ (navigator));
  if (!await gpu?.requestAdapter().catch(() => null)) return { note: "This browser or device has no WebGPU, so the processor encodes." };
  try {
    const encoder = new Runner(await load(webgpu), "webgpu");
    await encoder.open("encoder", await files.read(graphs.encoder));
    const expected = new Float32Array((await files.read(webgpu.check)).buffer);
    const embedding = await encoder.encode(knownInput());
    const isSame = expected.every((value, index) => Math.abs(value - embedding[index * STEP]) <= TOLERANCE);
    return isSame ? { encoder, note: "" } : { note: "WebGPU gives other results on this device, so the processor encodes." };
  } catch (error) {
    return { note: `WebGPU failed (${error instanceof Error ? error.message : error}), so the processor encodes.` };
  }
}

/** Return the input of the encoder whose embedding is known. */
function knownInput() {
  return Float32Array.from({ length: 3 * IMAGE_SIZE ** 2 }, (_, place) => (((place % 1021) * 31) % 509) / 254 - 1);
}

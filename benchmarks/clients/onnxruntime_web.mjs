// Run an encoder and a decoder of `mobilesam export` with npm's onnxruntime-web, on the WebAssembly backend.
// node onnxruntime_web.mjs FOLDER: reads encoder.onnx, decoder.onnx and inputs.json, writes the outputs as raw float32.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as ort from 'onnxruntime-web'

const folder = process.argv[2]
const open = async name => ort.InferenceSession.create(await readFile(join(folder, name)), { executionProviders: ['wasm'] })
const shapes = JSON.parse(await readFile(join(folder, 'inputs.json'), 'utf8'))
const tensor = async name => {
  const { buffer, byteOffset, byteLength } = await readFile(join(folder, `${name}.bin`))
  return new ort.Tensor('float32', new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)), shapes[name])
}
const encoder = await open('encoder.onnx')
const started = performance.now()
const { image_embeddings } = await encoder.run({ input_image: await tensor('input_image') })
const encoded = performance.now()
const feeds = { image_embeddings }
for (const name of Object.keys(shapes)) if (name !== 'input_image') feeds[name] = await tensor(name)
const decoder = await open('decoder.onnx')
const before = performance.now()
const outputs = await decoder.run(feeds)
const done = performance.now()
for (const [name, value] of Object.entries({ image_embeddings, ...outputs })) {
  await writeFile(join(folder, `${name}.out`), Buffer.from(value.data.buffer, value.data.byteOffset, value.data.byteLength))
}
console.log(JSON.stringify({ encode_s: (encoded - started) / 1000, decode_s: (done - before) / 1000 }))

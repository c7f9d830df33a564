// Compression and checksums of PNG and ZIP.

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** Return the CRC-32 of parts that follow one another. @param {...Uint8Array} parts */
export function crc32(...parts) {
  let value = 0xffffffff;
  for (const part of parts) {
    for (let index = 0; index < part.length; index++) value = TABLE[(value ^ part[index]) & 255] ^ (value >>> 8);
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** Return compressed parts; each is taken when the one before it has been read. @param {Iterator<Uint8Array<ArrayBuffer>>} parts @param {"deflate" | "deflate-raw"} format */
export async function compressed(parts, format) {
  /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */
  const stream = new ReadableStream({
    pull(controller) {
      const { done, value } = parts.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  }, { highWaterMark: 0 });
  return new Uint8Array(await new Response(stream.pipeThrough(new CompressionStream(format))).arrayBuffer());
}

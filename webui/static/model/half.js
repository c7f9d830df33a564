// Half-precision numbers, which halve the size of an embedding on its way to the page.

/** Return float16 numbers, given by their bits, as float32. @param {Uint16Array} halves */
export function float32Of(halves) {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let index = 0; index < halves.length; index++) {
    const half = halves[index];
    const sign = (half & 0x8000) << 16;
    const [exponent, fraction] = [(half >> 10) & 0x1f, half & 0x3ff];
    if (exponent === 0) values[index] = (sign ? -1 : 1) * fraction * 2 ** -24; // subnormal, or zero
    else bits[index] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  }
  return values;
}

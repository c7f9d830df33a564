// SHA-256 as text.

/** Return the SHA-256 of bytes, or null on an insecure page, where browsers do not compute it. @param {BufferSource} content */
export async function sha256Of(content) {
  const { subtle } = globalThis.crypto ?? {};
  if (!subtle) return null;
  const sum = new Uint8Array(await subtle.digest("SHA-256", content));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

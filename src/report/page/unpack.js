// Numbers packed into the page.

/** Returns the numbers as a Float32Array, or null for null. */
async function unpack(packed) {
  if (!packed) return null;
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const content = new Uint8Array(await new Response(plain).arrayBuffer());
  if (packed.kind === "byte") return Float32Array.from(content, (byte) => byte / 255);
  const n = packed.len;
  const bits = new Uint32Array(n);
  for (let plane = 0; plane * n < content.length; plane++) {
    const shift = 24 - 8 * plane;
    for (let i = 0; i < n; i++) bits[i] |= content[plane * n + i] << shift;
  }
  return new Float32Array(bits.buffer);
}

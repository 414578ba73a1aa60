/** Return a new random UUID (RFC 9562, section 5.4). crypto.randomUUID exists only where the page came over TLS. */
export function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  stamp(bytes, 0x40);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Return the 16 bytes of a new UUID of version 7 (RFC 9562, section 5.7) at `time`, whole milliseconds since 1970. */
export function uuid7(time: number): Uint8Array<ArrayBuffer> {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(time / 2 ** 32));
  view.setUint32(2, time % 2 ** 32);
  stamp(bytes, 0x70);
  return bytes;
}

/** Write a version, in the upper half of its byte, and the variant of RFC 9562. */
function stamp(bytes: Uint8Array, version: number): void {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | version;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
}

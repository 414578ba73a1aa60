import { crc32c } from "./crc32c";

/** Asked with an id and a blob, answers with the id and the blob's CRC-32C, or with why it could not be read. */
self.addEventListener("message", async (event: MessageEvent<{ id: number; blob: Blob }>) => {
  const { id, blob } = event.data;
  try {
    self.postMessage({ id, crc: crc32c(new Uint8Array(await blob.arrayBuffer())) });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
});

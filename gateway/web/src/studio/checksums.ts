import { Code } from "@connectrpc/connect";
import { ApiError } from "../api/errors";

interface Answer {
  id: number;
  crc?: number;
  error?: string;
}

/** Computes checksums beside the page, which stays responsive. */
export class Checksums {
  readonly #worker = new Worker(new URL("./crc32c.worker.ts", import.meta.url), { type: "module" });
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;

  constructor() {
    this.#worker.addEventListener("message", (event: MessageEvent<Answer>) => {
      this.#waiting.get(event.data.id)?.(event.data);
      this.#waiting.delete(event.data.id);
    });
  }

  /** Return the CRC-32C of `blob`; rejects where it cannot be read, as when the file changed meanwhile. */
  async of(blob: Blob): Promise<number> {
    const id = this.#next;
    this.#next += 1;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#worker.postMessage({ id, blob });
    });
    if (answer.crc === undefined) {
      throw new ApiError(`the file cannot be read: ${answer.error}`, Code.DataLoss, "FILE_UNREADABLE");
    }
    return answer.crc;
  }

  /** End the worker. */
  close(): void {
    this.#worker.terminate();
  }
}

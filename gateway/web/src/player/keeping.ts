import { Code } from "@connectrpc/connect";
import { toApiError } from "../api/errors";
import { sleep } from "../api/waiting";

const PASSING = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Internal]);

/**
 * Say every `interval` milliseconds that a viewing goes on, until `gone`. Throws what ended it: an error that may pass is
 * no end, since the server gives a viewing up only a while after it was to be kept.
 */
export async function keepViewing(
  keep: () => Promise<unknown>,
  interval: number,
  gone: AbortSignal,
): Promise<void> {
  for (;;) {
    await sleep(interval, gone);
    try {
      await keep();
    } catch (error) {
      if (gone.aborted || !PASSING.has(toApiError(error).code)) {
        throw error;
      }
    }
  }
}

import type { Clients } from "../api/clients";
import { toApiError } from "../api/errors";
import { ORGANIZATION } from "../api/names";
import { backoff, sleep } from "../api/waiting";
import type { WatchConcurrentsResponse } from "../gen/reelmesh/analytics/v1/analytics_service_pb";

/**
 * Yield how many viewings are going on, now and whenever they are counted anew; undefined while the stream is broken. It
 * is taken up again until `signal`; throws what will not pass.
 */
export async function* watchConcurrents(
  client: Pick<Clients["analytics"], "watchConcurrents">,
  signal: AbortSignal,
): AsyncGenerator<WatchConcurrentsResponse | undefined> {
  for (let failures = 0; ; ) {
    try {
      for await (const counted of client.watchConcurrents(
        { parent: ORGANIZATION },
        { signal, timeoutMs: 0 },
      )) {
        failures = 0;
        yield counted;
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (!toApiError(error).retryable) {
        throw error;
      }
      yield undefined;
    }
    failures += 1;
    await sleep(backoff(failures), signal);
  }
}

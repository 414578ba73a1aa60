import type { Job } from "../gen/reelmesh/transcode/v1/job_pb";
import { Job_State } from "../gen/reelmesh/transcode/v1/job_pb";
import type { Clients } from "./clients";
import { toApiError } from "./errors";
import { backoff, sleep } from "./waiting";

/** True where nothing will change any more. */
export function hasEnded(job: Job): boolean {
  return [Job_State.READY, Job_State.FAILED, Job_State.CANCELLED].includes(job.state);
}

/** Yield a job now and at each change until it has ended; a stream that breaks is taken up where it broke. */
export async function* watchJob(
  client: Pick<Clients["jobs"], "watchJob">,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Job> {
  let afterRevision = 0n;
  for (let failures = 0; ; ) {
    try {
      for await (const { job } of client.watchJob({ name, afterRevision }, { signal, timeoutMs: 0 })) {
        if (job === undefined) {
          continue;
        }
        afterRevision = job.revision;
        failures = 0;
        yield job;
        if (hasEnded(job)) {
          return;
        }
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (!toApiError(error).retryable) {
        throw error;
      }
    }
    failures += 1;
    await sleep(backoff(failures), signal);
  }
}

/** Return how many milliseconds to wait after so many failures in a row: doubling to 10 s, with a random part. */
export function backoff(failures: number): number {
  const most = Math.min(10_000, 250 * 2 ** failures);
  return most / 2 + (Math.random() * most) / 2;
}

/** Wait; rejects with the signal's reason as soon as it is aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

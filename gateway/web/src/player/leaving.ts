/** Requests under way: a page that shows where viewers are waits for them. */
const underWay = new Set<Promise<unknown>>();

/** Resolves once everything that was told on leaving has arrived, or could not. */
export async function toldOnLeaving(): Promise<void> {
  await Promise.all(underWay);
}

/**
 * Tells the server what it has to know of a session when the page goes, by requests that outlive it. `token` is the access
 * token as it is: there is no time left to renew it.
 */
export class Leaving {
  readonly #session: string;
  readonly #token: () => string | undefined;

  constructor(session: string, token: () => string | undefined) {
    this.#session = session;
    this.#token = token;
  }

  /** Tell the position, in seconds. */
  tell(position: number): void {
    this.#send("updateProgress", { position: `${position.toFixed(3)}s` });
  }

  /** End the viewing, so that its place is free at once. */
  end(): void {
    this.#send("end", {});
  }

  #send(verb: string, body: object): void {
    const token = this.#token();
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const request = fetch(`/v1/${this.#session}:${verb}`, {
      method: "POST",
      keepalive: true,
      headers: { "content-type": "application/json", ...authorization },
      body: JSON.stringify(body),
    }).catch(() => undefined);
    underWay.add(request);
    void request.then(() => underWay.delete(request));
  }
}

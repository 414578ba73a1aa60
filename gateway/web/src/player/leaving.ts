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
    void fetch(`/v1/${this.#session}:${verb}`, {
      method: "POST",
      keepalive: true,
      headers: { "content-type": "application/json", ...authorization },
      body: JSON.stringify(body),
    });
  }
}

import type { PlaybackSession } from "../gen/reelmesh/playback/v1/session_pb";

/** Before its end, in milliseconds, a token is not used any more: a request takes its time too. */
const SPARE = 5_000;

/** What opens the objects of a presentation. */
export interface MediaToken {
  text: string;
  /** When it stops working, in milliseconds as `Date.now` counts. */
  expires: number;
}

/** Return the media token of a playback session. */
export function mediaToken(
  session: Pick<PlaybackSession, "mediaToken" | "mediaTokenExpireTime">,
): MediaToken {
  return { text: session.mediaToken, expires: Number(session.mediaTokenExpireTime?.seconds ?? 0n) * 1000 };
}

/** Return `uri` with another token; an address that carries none is left as it is. */
export function withToken(uri: string, token: string): string {
  return uri.replace(/([?&]token=)[^&#]*/, (_, name) => name + token);
}

/**
 * The token of a viewing, renewed when it is asked for: in the background once half of its life is over, and before
 * anything else once all of it is, as after a long pause.
 */
export class MediaTokens {
  readonly #renew: () => Promise<MediaToken>;
  #token: MediaToken;
  #renewAt: number;
  #renewing: Promise<void> | undefined;

  constructor(first: MediaToken, renew: () => Promise<MediaToken>) {
    this.#renew = renew;
    this.#token = first;
    this.#renewAt = halfTime(first);
  }

  /** Return a token that works, or the last one that did where a new one cannot be had. */
  async current(): Promise<string> {
    if (Date.now() >= this.#renewAt) {
      this.#renewing ??= this.#fetch();
      if (Date.now() >= this.#token.expires - SPARE) {
        await this.#renewing;
      }
    }
    return this.#token.text;
  }

  async #fetch(): Promise<void> {
    try {
      this.#token = await this.#renew();
      this.#renewAt = halfTime(this.#token);
    } catch {
      // The next request asks again; the server's refusal of the old one is what the viewer sees, should that fail too.
    } finally {
      this.#renewing = undefined;
    }
  }
}

function halfTime(token: MediaToken): number {
  return (Date.now() + token.expires) / 2;
}

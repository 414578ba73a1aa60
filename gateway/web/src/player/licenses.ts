import type { PlaybackSession } from "../gen/reelmesh/playback/v1/session_pb";

/** Key system that every browser has, and that protects least: chosen where there is no other. */
const CLEAR_KEY = "org.w3.clearkey";

/** How long, in milliseconds, the addresses of a session are used: their token is short-lived. */
const FRESH = 60_000;

/** Addresses of license servers, with their token, by key system as EME names it. */
export type LicenseServers = Readonly<Record<string, string>>;

/** Return the license servers of a playback session; none where the video is clear. */
export function licenseServers(session: Pick<PlaybackSession, "licenseServers">): LicenseServers {
  return Object.fromEntries(session.licenseServers.map(({ keySystem, uri }) => [keySystem, uri]));
}

/** Where a viewing gets its licenses: each renewal asks for an address anew, which decides again who may watch. */
export class Licenses {
  readonly #renew: () => Promise<LicenseServers>;
  #servers: LicenseServers;
  #since = Date.now();

  constructor(first: LicenseServers, renew: () => Promise<LicenseServers>) {
    this.#servers = first;
    this.#renew = renew;
  }

  /** What Shaka Player needs to know before it loads a presentation. */
  get settings() {
    const systems = Object.keys(this.#servers).filter((system) => system !== CLEAR_KEY);
    return { servers: { ...this.#servers }, preferredKeySystems: [...systems, CLEAR_KEY] };
  }

  /** Return where to ask for a license of a key system. Rejects with the server's refusal. */
  async address(keySystem: string, renewal: boolean): Promise<string | undefined> {
    if (renewal || Date.now() - this.#since > FRESH) {
      this.#servers = await this.#renew();
      this.#since = Date.now();
    }
    return this.#servers[keySystem];
  }
}

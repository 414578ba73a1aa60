import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { toApiError } from "../api/errors";
import { ORGANIZATION } from "../api/names";
import { Role } from "../gen/reelmesh/annotations/v1/annotations_pb";

/** Before its end, in milliseconds, an access token is not used any more: a request takes its time too. */
const SPARE = 30_000;
const KEY = "account";

/** Who is signed in at this browser. */
export interface Account {
  /** Resource name, "users/{user}". */
  user: string;
  email: string;
  /** True for who may upload and edit. */
  edits: boolean;
  accessToken: string;
  /** When the access token stops working, in milliseconds as `Date.now` counts. */
  expires: number;
  refreshToken: string;
}

/** Where the account is kept, so that it is there when the page is opened again; all tabs share it. */
export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** The answer of a sign-in or a refresh, as the contract writes it. */
export interface Answer {
  user?: { name: string; email: string; memberships: { organization: string; role: Role }[] } | undefined;
  tokens?:
    | { accessToken: string; accessExpireTime?: Timestamp | undefined; refreshToken: string }
    | undefined;
}

/** Runs `work` while nobody else who asks for the same lock does, in any tab. */
export type Lock = <T>(work: () => Promise<T>) => Promise<T>;

/** Who is signed in, with an access token that works. */
export class Session extends EventTarget {
  readonly #storage: Storage;
  readonly #refresh: (refreshToken: string) => Promise<Answer>;
  readonly #lock: Lock;

  constructor(storage: Storage, refresh: (refreshToken: string) => Promise<Answer>, lock: Lock = tabLock) {
    super();
    this.#storage = storage;
    this.#refresh = refresh;
    this.#lock = lock;
  }

  /** Who is signed in; undefined for nobody. */
  get account(): Account | undefined {
    const kept = this.#storage.getItem(KEY);
    return kept === null ? undefined : (JSON.parse(kept) as Account);
  }

  /** Keep who has signed in. */
  signIn({ user, tokens }: Answer): void {
    if (user === undefined || tokens === undefined) {
      throw new Error("the server answered without the account");
    }
    const expires = tokens.accessExpireTime ? timestampMs(tokens.accessExpireTime) : 0;
    const { accessToken, refreshToken } = tokens;
    const edits = user.memberships.some(
      ({ organization, role }) => organization === ORGANIZATION && role >= Role.EDITOR,
    );
    const account = { user: user.name, email: user.email, edits, accessToken, expires, refreshToken };
    this.#storage.setItem(KEY, JSON.stringify(account));
    this.dispatchEvent(new Event("change"));
  }

  /** Forget who has signed in. */
  signOut(): void {
    this.#storage.removeItem(KEY);
    this.dispatchEvent(new Event("change"));
  }

  /** Return the value of the authorization header; undefined where nobody is signed in. */
  async authorization(): Promise<string | undefined> {
    if (stale(this.account)) {
      // One tab at a time: a refresh token works once.
      await this.#lock(() => this.#renew());
    }
    const { account } = this;
    return account && `Bearer ${account.accessToken}`;
  }

  async #renew(): Promise<void> {
    const { account } = this;
    if (account === undefined || !stale(account)) {
      return; // another tab was faster
    }
    try {
      this.signIn(await this.#refresh(account.refreshToken));
    } catch (error) {
      const { reason } = toApiError(error);
      if (reason === "REFRESH_TOKEN_INVALID" || reason === "REFRESH_TOKEN_REUSED") {
        this.signOut();
      }
      // Otherwise the old token is tried: the call says what is wrong.
    }
  }
}

function stale(account: Account | undefined): boolean {
  return account !== undefined && Date.now() >= account.expires - SPARE;
}

function tabLock<T>(work: () => Promise<T>): Promise<T> {
  return navigator.locks.request("account", work) as Promise<T>;
}

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../api/errors";
import { type Answer, Session } from "./session";

function storage() {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
}

function answer(name: string, minutes = 10): Answer {
  return {
    user: { name: "users/1", email: "ann@example.com", memberships: [] },
    tokens: {
      accessToken: `access ${name}`,
      accessExpireTime: timestampFromMs(Date.now() + minutes * 60_000),
      refreshToken: `refresh ${name}`,
    },
  };
}

/** One after the other, as the browser's locks do. */
function queue() {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work);
    last = next.catch(() => undefined);
    return next;
  };
}

describe("Session", () => {
  beforeEach(() => vi.useFakeTimers({ now: 0 }));

  it("signs nothing for nobody", async () => {
    const session = new Session(storage(), () => Promise.reject(new Error("not asked")), queue());
    expect(await session.authorization()).toBeUndefined();
  });

  it("uses a token for as long as it works", async () => {
    const refresh = vi.fn(async () => answer("2"));
    const session = new Session(storage(), refresh, queue());
    session.signIn(answer("1"));
    vi.setSystemTime(9 * 60_000);
    expect(await session.authorization()).toBe("Bearer access 1");
    vi.setSystemTime(9.6 * 60_000);
    expect(await session.authorization()).toBe("Bearer access 2");
    expect(refresh.mock.calls).toEqual([["refresh 1"]]);
  });

  it("spends a refresh token once, however many tabs ask", async () => {
    const refresh = vi.fn(async () => answer("2"));
    const [shared, lock] = [storage(), queue()];
    const tabs = [1, 2, 3].map(() => new Session(shared, refresh, lock));
    tabs[0]?.signIn(answer("1", 0));
    const headers = await Promise.all([...tabs, ...tabs].map((tab) => tab.authorization()));
    expect(new Set(headers)).toEqual(new Set(["Bearer access 2"]));
    expect(refresh).toHaveBeenCalledTimes(1);
  });

  it("forgets who was signed out elsewhere", async () => {
    const gone = new ApiError("gone", Code.Unauthenticated, "REFRESH_TOKEN_INVALID");
    const session = new Session(storage(), () => Promise.reject(gone), queue());
    const changed = vi.fn();
    session.signIn(answer("1", 0));
    session.addEventListener("change", changed);
    expect(await session.authorization()).toBeUndefined();
    expect(changed).toHaveBeenCalledTimes(1);
  });

  it("keeps who is signed in while the server is away", async () => {
    const away = new ApiError("away", Code.Unavailable);
    const session = new Session(storage(), () => Promise.reject(away), queue());
    session.signIn(answer("1", 0));
    expect(await session.authorization()).toBe("Bearer access 1");
    expect(session.account?.email).toBe("ann@example.com");
  });
});

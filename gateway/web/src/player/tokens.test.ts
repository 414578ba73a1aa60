import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type MediaToken, MediaTokens, mediaToken, withToken } from "./tokens";

describe("media tokens", () => {
  let renewals: number;
  let answer: () => Promise<MediaToken>;
  let tokens: MediaTokens;

  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
    renewals = 0;
    answer = async () => ({ text: `t${renewals}`, expires: Date.now() + 60_000 });
    tokens = new MediaTokens({ text: "t0", expires: 60_000 }, () => {
      renewals += 1;
      return answer();
    });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it("are used as they are for half of their life, then renewed in the background", async () => {
    vi.setSystemTime(29_999);
    expect(await tokens.current()).toBe("t0");
    expect(renewals).toBe(0);
    vi.setSystemTime(30_000);
    expect(await Promise.all([tokens.current(), tokens.current()])).toEqual(["t0", "t0"]);
    expect(renewals).toBe(1);
    expect(await tokens.current()).toBe("t1");
    vi.setSystemTime(59_000);
    expect(await tokens.current()).toBe("t1");
    expect(renewals).toBe(1);
  });

  it("are waited for after a pause that outlasted them", async () => {
    vi.setSystemTime(3_600_000);
    expect(await Promise.all([tokens.current(), tokens.current()])).toEqual(["t1", "t1"]);
    expect(renewals).toBe(1);
  });

  it("stay as they are while there are no others, and are asked for again", async () => {
    answer = () => Promise.reject(new Error("away"));
    vi.setSystemTime(3_600_000);
    expect(await tokens.current()).toBe("t0");
    answer = async () => ({ text: "back", expires: Date.now() + 60_000 });
    expect(await tokens.current()).toBe("back");
    expect(renewals).toBe(2);
  });

  it("take the place of the one in an address", () => {
    expect(withToken("/media/a/b.m4s?token=old", "new")).toBe("/media/a/b.m4s?token=new");
    expect(withToken("https://cdn/a?x=1&token=old&y=2#t", "new")).toBe("https://cdn/a?x=1&token=new&y=2#t");
    expect(withToken("/media/a/b.m4s", "new")).toBe("/media/a/b.m4s");
    expect(withToken("/a?mytoken=old", "new")).toBe("/a?mytoken=old");
  });

  it("are read from a session", () => {
    const time = { $typeName: "google.protobuf.Timestamp" as const, seconds: 12n, nanos: 0 };
    expect(mediaToken({ mediaToken: "t", mediaTokenExpireTime: time })).toEqual({
      text: "t",
      expires: 12_000,
    });
  });
});

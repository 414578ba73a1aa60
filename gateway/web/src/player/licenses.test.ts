import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PlaybackSessionSchema } from "../gen/reelmesh/playback/v1/session_pb";
import { failure } from "./failures";
import { Licenses, licenseServers } from "./licenses";

const CLEAR_KEY = "org.w3.clearkey";
const WIDEVINE = "com.widevine.alpha";

describe("licenses", () => {
  let renewals: number;
  let licenses: Licenses;

  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
    renewals = 0;
    licenses = new Licenses({ [CLEAR_KEY]: "/clear?t0", [WIDEVINE]: "/wide?t0" }, async () => {
      renewals += 1;
      return { [CLEAR_KEY]: `/clear?t${renewals}` };
    });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it("are asked for at the session's address while that is fresh", async () => {
    vi.setSystemTime(60_000);
    expect(await licenses.address(WIDEVINE, false)).toBe("/wide?t0");
    expect(renewals).toBe(0);
    vi.setSystemTime(60_001);
    expect(await licenses.address(CLEAR_KEY, false)).toBe("/clear?t1");
    expect(await licenses.address(CLEAR_KEY, false)).toBe("/clear?t1");
    expect(renewals).toBe(1);
  });

  it("are renewed at an address asked for anew, each time", async () => {
    expect(await licenses.address(CLEAR_KEY, true)).toBe("/clear?t1");
    expect(await licenses.address(CLEAR_KEY, true)).toBe("/clear?t2");
  });

  it("are not given once the viewing is no longer entitled", async () => {
    const refused = new Licenses({}, async () => {
      throw new Error("ENTITLEMENT_REQUIRED");
    });
    await expect(refused.address(CLEAR_KEY, true)).rejects.toThrow("ENTITLEMENT_REQUIRED");
  });

  it("prefer a key system that hides its keys", () => {
    expect(licenses.settings.preferredKeySystems).toEqual([WIDEVINE, CLEAR_KEY]);
    expect(licenses.settings.servers).toEqual({ [CLEAR_KEY]: "/clear?t0", [WIDEVINE]: "/wide?t0" });
  });

  it("come from what a session says", () => {
    const session = create(PlaybackSessionSchema, {
      licenseServers: [{ keySystem: CLEAR_KEY, uri: "/v1/licenses/clearkey?token=t" }],
    });
    expect(licenseServers(session)).toEqual({ [CLEAR_KEY]: "/v1/licenses/clearkey?token=t" });
    expect(licenseServers(create(PlaybackSessionSchema))).toEqual({});
  });
});

describe("failures of the player", () => {
  const body = JSON.stringify({
    code: 7,
    message: "the viewing grants no such key",
    details: [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "KEY_NOT_GRANTED",
        domain: "reelmesh.drm",
      },
    ],
  });

  it("of a license carry the server's reason", () => {
    const refused = { category: 1, code: 1001, data: ["/v1/licenses/clearkey", 403, body] };
    const error = failure({ category: 6, code: 6007, data: [refused] });
    expect([error.reason, error.domain, error.message]).toEqual([
      "KEY_NOT_GRANTED",
      "reelmesh.drm",
      "the viewing grants no such key",
    ]);
  });

  it("of other kinds carry Shaka's number", () => {
    expect(failure({ category: 6, code: 6007, data: [{ category: 1, code: 1002, data: [] }] }).reason).toBe(
      "SHAKA_6007",
    );
    expect(failure({ category: 3, code: 3016, data: [] }).reason).toBe("SHAKA_3016");
  });

  it("that are not Shaka's stay what they are", () => {
    expect(failure(new Error("gone")).message).toBe("gone");
  });
});

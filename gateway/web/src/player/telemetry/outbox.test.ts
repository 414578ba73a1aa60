import { create, fromJsonString, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../../api/errors";
import { uuid7 } from "../../api/ids";
import { EventType } from "../../gen/reelmesh/telemetry/v1/event_pb";
import {
  Consent,
  ReportRequestSchema,
  ReportResponseSchema,
} from "../../gen/reelmesh/telemetry/v1/telemetry_service_pb";
import { type ConsentWord, defaultConsent, read } from "./consent";
import type { Measured } from "./measured";
import { Outbox } from "./outbox";

type Sent = { token?: string; sentTimeMs?: bigint; consent?: Consent; events?: Measured[] };

describe("the outbox", () => {
  let sent: Sent[];
  let beacons: string[];
  let answers: (MessageInitShape<typeof ReportResponseSchema> | Error)[];
  let consent: ConsentWord;
  let taken: boolean;
  let outbox: Outbox;
  let sequence: bigint;

  beforeEach(() => {
    vi.useFakeTimers({ now: 1_790_000_000_000 });
    [sent, beacons, answers, consent, taken, sequence] = [[], [], [], "granted", true, 0n];
    const sender = { token: "T1", uri: "/beacon", session: "S", player: "p", playerVersion: "1" };
    outbox = new Outbox(sender, {
      report: async (request) => {
        sent.push(structuredClone(request) as Sent);
        const answer = answers.shift() ?? {};
        if (answer instanceof Error) {
          throw answer;
        }
        const now = BigInt(Date.now());
        const usual = { sampled: true, serverTimeMs: now };
        return create(ReportResponseSchema, Object.assign(usual, answer));
      },
      beacon: (_, body) => {
        beacons.push(body);
        return taken;
      },
      renew: async () => ({ token: "T2", uri: "/beacon" }),
      consent: () => consent,
      wall: () => Date.now(),
    });
  });

  afterEach(() => vi.useRealTimers());

  const event = (type = EventType.HEARTBEAT, more: Partial<Measured> = {}): Measured => {
    const time = Math.round(outbox.wall());
    const made = { eventId: uuid7(time), eventTimeMs: BigInt(time), sequence, type, ...more };
    sequence += 1n;
    return made;
  };
  const add = (...types: EventType[]) => {
    for (const type of types) {
      outbox.add(event(type));
    }
  };
  const sequences = () => sent.map(({ events }) => events?.map((each) => Number(each.sequence)));

  it("sends what is new at once, and gathers the rest", async () => {
    add(EventType.HEARTBEAT);
    await vi.advanceTimersByTimeAsync(4000);
    expect(sent).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1000);
    add(EventType.HEARTBEAT, EventType.FAILED);
    await vi.advanceTimersByTimeAsync(1);
    expect(sequences()).toEqual([[0], [1, 2]]);
    expect(outbox.waiting).toHaveLength(0);
  });

  it("sends the same again until the server has it", async () => {
    answers = [new ConnectError("away", Code.Unavailable), new ConnectError("away", Code.Unavailable), {}];
    add(EventType.REQUESTED, EventType.HEARTBEAT);
    await vi.advanceTimersByTimeAsync(0);
    add(EventType.STARTED);
    await vi.advanceTimersByTimeAsync(100);
    expect(sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(sequences()).toEqual([
      [0, 1],
      [0, 1, 2],
      [0, 1, 2],
    ]);
    const ids = sent.map(({ events }) => events?.slice(0, 2).map((each) => String(each.eventId)));
    expect(ids[1]).toEqual(ids[0]);
    expect(ids[2]).toEqual(ids[0]);
    expect(outbox.waiting).toHaveLength(0);
  });

  it("leaves out what is refused, and goes on with the rest", async () => {
    answers = [{ accepted: 1, refusals: [{ index: 0, reason: "OUT_OF_RANGE" }] }];
    add(EventType.REQUESTED, EventType.STARTED);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sequences()).toEqual([[0, 1]]);
    expect(outbox.waiting).toHaveLength(0);
  });

  it("sets the clock by the server, once it says that it is wrong, and stamps anew", async () => {
    const days = 3 * 86_400_000;
    const skewed = [0, 1].map((index) => ({ index, reason: "CLOCK_SKEWED" }));
    answers = [{ accepted: 0, refusals: skewed, serverTimeMs: BigInt(Date.now() + days) }];
    add(EventType.REQUESTED, EventType.STARTED);
    await vi.advanceTimersByTimeAsync(10);
    expect(sequences()).toEqual([
      [0, 1],
      [0, 1],
    ]);
    const [first, second] = sent.map(({ events }) => events?.[0]);
    expect(Number(second?.eventTimeMs) - Number(first?.eventTimeMs)).toBe(days);
    expect(second?.eventId).not.toEqual(first?.eventId);
    expect(Number(sent[1]?.sentTimeMs)).toBeGreaterThanOrEqual(Number(first?.eventTimeMs) + days);
    expect(outbox.wall()).toBe(Date.now() + days);
  });

  it("stops where sampling leaves the viewing out", async () => {
    answers = [{ sampled: false }];
    add(EventType.REQUESTED);
    await vi.advanceTimersByTimeAsync(0);
    add(EventType.STARTED);
    await vi.advanceTimersByTimeAsync(60_000);
    outbox.flush();
    expect(sent).toHaveLength(1);
    expect(beacons).toHaveLength(0);
  });

  it("stops at an error that stays", async () => {
    answers = [new ConnectError("no such service", Code.Unimplemented)];
    add(EventType.REQUESTED);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sent).toHaveLength(1);
    expect(outbox.stopped).toBe(true);
  });

  it("asks for a new token when its own has expired", async () => {
    answers = [new ApiError("expired", Code.Unauthenticated, "TELEMETRY_TOKEN_EXPIRED")];
    add(EventType.REQUESTED);
    await vi.advanceTimersByTimeAsync(10);
    expect(sent.map(({ token }) => token)).toEqual(["T1", "T2"]);
  });

  it("hands what waits to beacons that a browser takes, each event once, newest first", () => {
    for (let count = 0; count < 300; count += 1) {
      outbox.add(event(EventType.STATE_CHANGED, { rendition: "720p", watchMs: 1000n }));
    }
    outbox.flush();
    outbox.flush();
    expect(Math.max(...beacons.map((body) => body.length))).toBeLessThan(60_000);
    const told = beacons.map((body) => fromJsonString(ReportRequestSchema, body));
    expect(told[0]).toMatchObject({ token: "T1", session: "S", consent: Consent.GRANTED });
    const numbers = told.map(({ events }) => events.map((each) => Number(each.sequence)));
    expect(numbers.flat()).toHaveLength(300);
    expect(numbers[0]?.at(-1)).toBe(299);
    expect(outbox.waiting).toHaveLength(300);
  });

  it("joins heartbeats that were never sent when too much waits, and loses nothing of their counters", async () => {
    answers = Array.from({ length: 1000 }, () => new ConnectError("away", Code.Unavailable));
    add(EventType.REQUESTED, EventType.STARTED);
    for (let count = 0; count < 1000; count += 1) {
      outbox.add(event(EventType.HEARTBEAT, { watchMs: 10_000n, watchedFromMs: BigInt(count * 10_000) }));
    }
    const watched = outbox.waiting.reduce((sum, { watchMs = 0 }) => sum + BigInt(watchMs), 0n);
    expect(outbox.waiting).toHaveLength(400);
    expect(watched).toBe(10_000_000n);
    expect(outbox.waiting[2]).toMatchObject({ watchedFromMs: 0n, watchMs: 60_000n, sequence: 7n });
    for (let count = 0; count < 4000; count += 1) {
      outbox.add(event(EventType.HEARTBEAT, { watchMs: 10_000n }));
    }
    expect(outbox.waiting).toHaveLength(400);
    expect(outbox.waiting.slice(0, 2).map(({ type }) => type)).toEqual([
      EventType.REQUESTED,
      EventType.STARTED,
    ]);
  });

  it("obeys a viewer who agrees to nothing any more", async () => {
    add(EventType.REQUESTED);
    consent = "denied";
    await vi.advanceTimersByTimeAsync(60_000);
    outbox.flush();
    expect([sent, beacons]).toEqual([[], []]);
  });
});

describe("consent", () => {
  it("is to be measured without a name, unless one signed in or said so", () => {
    expect(defaultConsent(false, false)).toBe("anonymous");
    expect(defaultConsent(true, false)).toBe("granted");
    expect(defaultConsent(true, true)).toBe("anonymous");
    expect(["granted", "denied", "yes", null].map(read)).toEqual(["granted", "denied", undefined, undefined]);
  });
});

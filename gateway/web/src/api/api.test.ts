import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { type Job, Job_State, JobSchema } from "../gen/reelmesh/transcode/v1/job_pb";
import { WatchJobResponseSchema } from "../gen/reelmesh/transcode/v1/job_service_pb";
import type { Clients } from "./clients";
import { fromHttp, toApiError } from "./errors";
import { uuid } from "./ids";
import { watchJob } from "./jobs";
import { videoName, watchPath } from "./names";
import { slicePath } from "./slices";

const ID = "01890000-0000-7000-8000-000000000001";

describe("names", () => {
  it("turns an id into a resource name and back", () => {
    expect(videoName(ID)).toBe(`organizations/default/videos/${ID}`);
    expect(watchPath(`organizations/default/videos/${ID}`)).toBe(`/watch/${ID}`);
  });

  it("accepts nothing else", () => {
    expect(videoName("../jobs/1")).toBeUndefined();
  });

  it("makes version 4 UUIDs", () => {
    expect(uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("errors", () => {
  const info = { reason: "OFFSET_MISMATCH", domain: "reelmesh.ingest" };

  it("reads google.rpc.Status as JSON", () => {
    const details = [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", ...info }];
    const error = fromHttp(400, JSON.stringify({ code: 11, message: "beyond the end", details }));
    expect(error).toMatchObject({ code: Code.OutOfRange, message: "beyond the end", ...info });
    expect(error.retryable).toBe(false);
  });

  it("makes sense of an answer that is not ours", () => {
    expect(fromHttp(502, "<html>").retryable).toBe(true);
    expect(fromHttp(413, "").retryable).toBe(false);
  });

  it("reads ErrorInfo from a gRPC-Web trailer", () => {
    const text = new TextEncoder();
    const field = (number: number, value: string) => [(number << 3) | 2, value.length, ...text.encode(value)];
    const entry = [...field(1, "offers"), ...field(2, "a b")];
    const metadata = [(3 << 3) | 2, entry.length, ...entry];
    const value = new Uint8Array([...metadata, ...field(1, info.reason), ...field(2, info.domain)]);
    const thrown = new ConnectError("beyond the end", Code.OutOfRange);
    thrown.details = [{ type: "google.rpc.ErrorInfo", value }];
    expect(toApiError(thrown)).toMatchObject({ code: Code.OutOfRange, message: "beyond the end", ...info });
    expect(toApiError(thrown).metadata).toEqual({ offers: "a b" });
  });

  it("passes a broken connection on as one that may be retried", () => {
    expect(toApiError(new ConnectError("gone", Code.Unavailable)).retryable).toBe(true);
  });
});

describe("slices", () => {
  const slice = { upload: "organizations/default/uploads/u", offset: 8, bytes: new Blob(), crc32c: 7 };

  it("says in the query what the rpc needs", () => {
    expect(slicePath({ ...slice, finish: false })).toBe(
      "/v1/organizations/default/uploads/u:write?offset=8&crc32c=7",
    );
    expect(slicePath({ ...slice, finish: true })).toMatch(/&finish=true$/);
  });
});

describe("watching a job", () => {
  const job = (revision: bigint, state: Job_State) => create(JobSchema, { name: "j", revision, state });

  it("goes on after the last revision when the stream breaks", async () => {
    const asked: unknown[] = [];
    const streams = [
      [job(1n, Job_State.INSPECTING), job(2n, Job_State.ENCODING)],
      [job(3n, Job_State.READY), job(4n, Job_State.READY)],
    ];
    const client = {
      async *watchJob(request: { afterRevision?: bigint }) {
        asked.push(request.afterRevision);
        for (const each of streams[asked.length - 1] ?? []) {
          yield create(WatchJobResponseSchema, { job: each });
        }
        throw new ConnectError("the stream broke", Code.Unavailable);
      },
    } as unknown as Clients["jobs"];
    const seen: Job[] = [];
    for await (const each of watchJob(client, "j", new AbortController().signal)) {
      seen.push(each);
    }
    expect(seen.map((each) => each.revision)).toEqual([1n, 2n, 3n]);
    expect(asked).toEqual([0n, 2n]);
  });

  it("gives up on an error that stays", async () => {
    const client = {
      // biome-ignore lint/correctness/useYield: it fails before there is anything to yield
      async *watchJob() {
        throw new ConnectError("no such job", Code.NotFound);
      },
    } as unknown as Clients["jobs"];
    await expect(watchJob(client, "j", new AbortController().signal).next()).rejects.toThrow("no such job");
  });
});

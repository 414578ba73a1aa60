import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import { ApiError } from "../api/errors";
import type { Slice } from "../api/slices";
import {
  type Upload,
  Upload_Protection,
  Upload_State,
  UploadSchema,
} from "../gen/reelmesh/ingest/v1/upload_pb";
import { crc32c } from "./crc32c";
import { type Memory, SLICE_BYTES, type UploadProgress, type UploadServer, uploadFile } from "./upload";

/** Keeps bytes as the real server does; `faults` are thrown, one per call of put, before or after keeping them. */
class FakeServer implements UploadServer {
  kept = new Uint8Array();
  state = Upload_State.ACTIVE;
  faults: { error: ApiError; keep: number }[] = [];
  offsets: number[] = [];
  created = 0;
  total = 0;

  async create(file: File): Promise<Upload> {
    this.created += 1;
    this.total = file.size;
    return this.#upload();
  }

  async get(name: string): Promise<Upload> {
    if (name !== "uploads/1") {
      throw new ApiError("no such upload", Code.NotFound, "UPLOAD_UNKNOWN");
    }
    return this.#upload();
  }

  async put(slice: Slice, onProgress: (sent: number) => void): Promise<Upload> {
    this.offsets.push(slice.offset);
    const bytes = new Uint8Array(await slice.bytes.arrayBuffer());
    expect(slice.crc32c).toBe(crc32c(bytes));
    const fault = this.faults.shift();
    if (slice.offset > this.kept.length) {
      throw new ApiError("beyond what is there", Code.OutOfRange, "OFFSET_MISMATCH");
    }
    onProgress(bytes.length);
    this.#keep(slice.offset, bytes.subarray(0, fault?.keep ?? bytes.length));
    if (fault) {
      throw fault.error;
    }
    if (slice.finish) {
      this.state = this.kept.length === this.total ? Upload_State.SUCCEEDED : Upload_State.FAILED;
    }
    return this.#upload();
  }

  #keep(offset: number, bytes: Uint8Array): void {
    const fresh = bytes.subarray(this.kept.length - offset);
    const more = new Uint8Array(this.kept.length + fresh.length);
    more.set(this.kept);
    more.set(fresh, this.kept.length);
    this.kept = more;
  }

  #upload(): Upload {
    const persistedSize = BigInt(this.kept.length);
    return create(UploadSchema, { name: "uploads/1", video: "videos/1", persistedSize, state: this.state });
  }
}

class FakeMemory implements Memory {
  known: string | undefined;
  recall = () => this.known;
  remember = (_: File, upload: string) => {
    this.known = upload;
  };
  forget = () => {
    this.known = undefined;
  };
}

const BROKEN = new ApiError("the connection broke", Code.Unavailable);

describe("uploading a file", () => {
  let server: FakeServer;
  let memory: FakeMemory;
  let seen: UploadProgress[];
  const content = Uint8Array.from({ length: SLICE_BYTES * 2 + 3 }, (_, index) => index % 251);
  const file = new File([content], "clip.mp4");

  const run = (subject = file, signal = new AbortController().signal) =>
    uploadFile(
      subject,
      { title: "Clip", protection: Upload_Protection.UNSPECIFIED },
      {
        server,
        memory,
        checksum: async (blob) => crc32c(new Uint8Array(await blob.arrayBuffer())),
        pause: async () => {},
      },
      (progress) => seen.push(progress),
      signal,
    );

  const whole = () =>
    expect([server.kept.length, crc32c(server.kept)]).toEqual([content.length, crc32c(content)]);

  beforeEach(() => {
    server = new FakeServer();
    memory = new FakeMemory();
    seen = [];
  });

  it("sends slices in order and finishes with the last", async () => {
    const upload = await run();
    expect(upload.video).toBe("videos/1");
    expect(server.offsets).toEqual([0, SLICE_BYTES, SLICE_BYTES * 2]);
    whole();
    expect(seen.at(-1)).toEqual({ sent: content.length, total: content.length, resumedFrom: 0 });
    expect(memory.known).toBeUndefined();
  });

  it("goes on at the exact byte that is durable after a broken connection", async () => {
    server.faults = [
      { error: BROKEN, keep: 1000 },
      { error: BROKEN, keep: 0 },
    ];
    await run();
    whole();
    expect(server.offsets.slice(0, 4)).toEqual([0, 1000, 1000, 1000 + SLICE_BYTES]);
    expect(seen.some((progress) => progress.trouble === BROKEN)).toBe(true);
    expect(seen.at(-1)?.trouble).toBeUndefined();
  });

  it("finishes when only the answer was lost", async () => {
    const lost = new ApiError("lost", Code.DeadlineExceeded);
    const all = { error: lost, keep: SLICE_BYTES };
    server.faults = [all, all, { error: lost, keep: 3 }];
    await run();
    whole();
    expect(server.offsets.at(-1)).toBe(content.length);
  });

  it("resumes the upload that the browser remembers", async () => {
    memory.known = "uploads/1";
    server.total = content.length;
    server.kept = content.slice(0, 12345);
    await run();
    whole();
    expect(server.created).toBe(0);
    expect(server.offsets[0]).toBe(12345);
    expect(seen[0]?.resumedFrom).toBe(12345);
  });

  it("starts anew when the remembered upload is gone", async () => {
    memory.known = "uploads/of-yesterday";
    await run();
    expect(server.created).toBe(1);
  });

  it("asks for the size when the server has another one", async () => {
    server.faults = [{ error: new ApiError("no", Code.OutOfRange, "OFFSET_MISMATCH"), keep: 5 }];
    await run();
    whole();
  });

  it("stops at an error that stays", async () => {
    const replaced = new ApiError("another writer took over", Code.Aborted, "WRITER_REPLACED");
    server.faults = [{ error: replaced, keep: 0 }];
    await expect(run()).rejects.toBe(replaced);
    expect(memory.known).toBe("uploads/1");
  });

  it("gives up when nothing moves", async () => {
    server.faults = Array.from({ length: 100 }, () => ({ error: BROKEN, keep: 0 }));
    await expect(run()).rejects.toBe(BROKEN);
    expect(server.offsets.length).toBe(9);
  });

  it("stops when told to", async () => {
    const stop = new AbortController();
    stop.abort();
    server.faults = [{ error: BROKEN, keep: 0 }];
    await expect(run(file, stop.signal)).rejects.toBe(BROKEN);
  });

  it("refuses an empty file", async () => {
    await expect(run(new File([], "empty.mp4"))).rejects.toMatchObject({ reason: "EMPTY_UPLOAD" });
    expect(server.created).toBe(0);
  });

  it("says why the server gave up on the file", async () => {
    server.state = Upload_State.EXPIRED;
    await expect(run()).rejects.toMatchObject({ reason: "UPLOAD_EXPIRED" });
  });
});

describe("crc32c", () => {
  const text = new TextEncoder();

  it("agrees with the published values", () => {
    expect(crc32c(text.encode("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
    expect(crc32c(new Uint8Array())).toBe(0);
  });

  it("goes on where it stopped", () => {
    expect(crc32c(text.encode("6789"), crc32c(text.encode("12345")))).toBe(0xe3069283);
  });
});

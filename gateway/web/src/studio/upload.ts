import { Code } from "@connectrpc/connect";
import { ApiError, toApiError } from "../api/errors";
import { uuid } from "../api/ids";
import type { Slice } from "../api/slices";
import { backoff, sleep } from "../api/waiting";
import { type Upload, type Upload_Protection, Upload_State } from "../gen/reelmesh/ingest/v1/upload_pb";

/** Size of a slice in bytes: one part object of the server's. */
export const SLICE_BYTES = 14 << 20;

/** Failures in a row, without a byte gained, that end an upload. */
const MOST_FAILURES = 8;

/** Errors of one slice only: the server has another size than we thought, or bytes changed on their way. */
const SLICE_REASONS = new Set(["OFFSET_MISMATCH", "CHECKSUM_MISMATCH"]);

/** What is to become of a file. */
export interface Wanted {
  title: string;
  protection: Upload_Protection;
}

/** The server as an upload needs it. */
export interface UploadServer {
  create(file: File, wanted: Wanted, requestId: string): Promise<Upload>;
  get(name: string): Promise<Upload>;
  put(slice: Slice, onProgress: (sent: number) => void, signal: AbortSignal): Promise<Upload>;
}

/** Remembers which upload a file belongs to, so that choosing it again resumes. */
export interface Memory {
  recall(file: File): string | undefined;
  remember(file: File, upload: string): void;
  forget(file: File): void;
}

/** What an upload depends on. */
export interface Dependencies {
  server: UploadServer;
  memory: Memory;
  checksum(blob: Blob): Promise<number>;
  /** Waits a while after so many failures in a row. */
  pause?(failures: number, signal: AbortSignal): Promise<void>;
}

/** How far an upload is. */
export interface UploadProgress {
  /** Bytes that have left, including those that are not durable yet. */
  sent: number;
  /** Bytes of the file. */
  total: number;
  /** Bytes that were durable before this page began. */
  resumedFrom: number;
  /** The error that is being retried; undefined while all is well. */
  trouble?: ApiError;
}

/**
 * Upload a file by slices and return the finished upload, whose video is known.
 *
 * After an error it asks the server how much is durable and goes on from there. Rejects with an ApiError when retrying
 * makes no sense, when nothing moves for long, or when `signal` is aborted.
 */
export async function uploadFile(
  file: File,
  wanted: Wanted,
  dependencies: Dependencies,
  onProgress: (progress: UploadProgress) => void,
  signal: AbortSignal,
): Promise<Upload> {
  if (file.size === 0) {
    throw new ApiError("the file is empty", Code.InvalidArgument, "EMPTY_UPLOAD");
  }
  const { server, memory, pause = (failures, stop) => sleep(backoff(failures), stop) } = dependencies;
  const requestId = uuid();
  let upload: Upload | undefined;
  let resumedFrom: number | undefined;
  let durable = 0;
  for (let failures = 0; ; ) {
    const report = (sent: number, trouble?: ApiError) =>
      onProgress({
        sent,
        total: file.size,
        resumedFrom: resumedFrom ?? 0,
        ...(trouble ? { trouble } : {}),
      });
    try {
      upload ??= await find(file, wanted, requestId, server, memory);
      durable = Number(upload.persistedSize);
      resumedFrom ??= durable;
      report(durable);
      while (upload.state === Upload_State.ACTIVE) {
        const slice = await nextSlice(file, upload, dependencies);
        upload = await server.put(slice, (sent) => report(slice.offset + sent), signal);
        if (Number(upload.persistedSize) > durable) {
          failures = 0;
        }
        durable = Number(upload.persistedSize);
        report(durable);
      }
      memory.forget(file);
      return succeeded(upload);
    } catch (error) {
      const problem = toApiError(error);
      failures += 1;
      const again = problem.retryable || SLICE_REASONS.has(problem.reason);
      if (signal.aborted || failures > MOST_FAILURES || !again) {
        throw problem;
      }
      report(durable, problem);
      await pause(failures, signal);
      upload = upload && (await server.get(upload.name).catch(() => upload));
    }
  }
}

async function find(
  file: File,
  wanted: Wanted,
  requestId: string,
  server: UploadServer,
  memory: Memory,
): Promise<Upload> {
  const known = memory.recall(file);
  if (known !== undefined) {
    try {
      const upload = await server.get(known);
      if (upload.state === Upload_State.ACTIVE || upload.state === Upload_State.SUCCEEDED) {
        return upload;
      }
    } catch (error) {
      if (toApiError(error).code !== Code.NotFound) {
        throw error;
      }
    }
  }
  // The same request_id however often this is tried: one file becomes one upload.
  const upload = await server.create(file, wanted, requestId);
  memory.remember(file, upload.name);
  return upload;
}

async function nextSlice(file: File, upload: Upload, { checksum }: Dependencies): Promise<Slice> {
  const offset = Number(upload.persistedSize);
  const end = Math.min(offset + SLICE_BYTES, file.size);
  const bytes = file.slice(offset, end);
  return { upload: upload.name, offset, bytes, crc32c: await checksum(bytes), finish: end === file.size };
}

function succeeded(upload: Upload): Upload {
  if (upload.state !== Upload_State.SUCCEEDED) {
    const state = Upload_State[upload.state].toLowerCase();
    throw new ApiError(
      `the upload has ${state}`,
      Code.FailedPrecondition,
      upload.failureReason || `UPLOAD_${state.toUpperCase()}`,
    );
  }
  return upload;
}

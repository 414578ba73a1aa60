import { fromJson } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Upload, UploadSchema } from "../gen/reelmesh/ingest/v1/upload_pb";
import { ApiError, fromHttp } from "./errors";

/** A piece of a file on its way to the server. */
export interface Slice {
  /** Resource name of the upload. */
  upload: string;
  /** Position of the first byte in the file. */
  offset: number;
  /** The bytes. */
  bytes: Blob;
  /** CRC-32C of the bytes. */
  crc32c: number;
  /** True where the slice ends the file. */
  finish: boolean;
}

/** Return the path that a slice is PUT to (UploadService.PutUpload). */
export function slicePath(slice: Slice): string {
  const query = new URLSearchParams({ offset: `${slice.offset}`, crc32c: `${slice.crc32c}` });
  if (slice.finish) {
    query.set("finish", "true");
  }
  return `/v1/${slice.upload}:write?${query}`;
}

/**
 * PUT a slice; `onProgress` is told how many of its bytes have left. Rejects with an ApiError.
 *
 * XMLHttpRequest, because fetch cannot tell how much of a body was sent.
 */
export function putSlice(
  slice: Slice,
  authorization: string | undefined,
  onProgress: (sent: number) => void,
  signal: AbortSignal,
): Promise<Upload> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cancel = () => request.abort();
    signal.addEventListener("abort", cancel, { once: true });
    request.addEventListener("loadend", () => signal.removeEventListener("abort", cancel));
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("load", () => {
      if (request.status === 200) {
        const { upload } = JSON.parse(request.responseText);
        resolve(fromJson(UploadSchema, upload, { ignoreUnknownFields: true }));
      } else {
        reject(fromHttp(request.status, request.responseText));
      }
    });
    request.addEventListener("error", () => reject(new ApiError("the connection broke", Code.Unavailable)));
    request.addEventListener("abort", () => reject(new ApiError("cancelled", Code.Canceled)));
    request.open("PUT", slicePath(slice));
    request.setRequestHeader("content-type", "application/octet-stream");
    if (authorization !== undefined) {
      request.setRequestHeader("authorization", authorization);
    }
    request.send(slice.bytes);
  });
}

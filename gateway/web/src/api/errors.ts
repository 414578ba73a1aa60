import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

const ERROR_INFO = "google.rpc.ErrorInfo";
const RETRYABLE = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.Unknown,
  Code.ResourceExhausted,
]);

/** An error of the API with the reason that programs may depend on, whichever way it arrived. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    message: string,
    /** gRPC status code. */
    readonly code: Code,
    /** Stable reason of google.rpc.ErrorInfo; empty where the server gave none. */
    readonly reason = "",
    /** Who says so, such as "reelmesh.ingest". */
    readonly domain = "",
    /** What else the server says to programs. */
    readonly metadata: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }

  /** True where the same request may succeed later. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** Turn whatever was thrown into an ApiError. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  const connect = ConnectError.from(error);
  for (const detail of connect.details) {
    if ("type" in detail && detail.type === ERROR_INFO) {
      const info = readErrorInfo(detail.value);
      return new ApiError(connect.rawMessage, connect.code, info.reason, info.domain, info.metadata);
    }
  }
  return new ApiError(connect.rawMessage, connect.code);
}

/** Read an HTTP answer that is not a success: google.rpc.Status as JSON where the gateway made it. */
export function fromHttp(status: number, body: string): ApiError {
  try {
    const { code, message, details } = JSON.parse(body) as {
      code: Code;
      message: string;
      details?: { "@type": string; reason?: string; domain?: string; metadata?: Record<string, string> }[];
    };
    const info = details?.find((detail) => detail["@type"].endsWith(ERROR_INFO));
    return new ApiError(message, code, info?.reason, info?.domain, info?.metadata);
  } catch {
    // Something between the page and the gateway answered.
    const code =
      status >= 500 || status === 408 || status === 429 ? Code.Unavailable : Code.FailedPrecondition;
    return new ApiError(`the server answered ${status}`, code);
  }
}

interface ErrorInfo {
  reason: string;
  domain: string;
  metadata: Record<string, string>;
}

/** Read a google.rpc.ErrorInfo, whose contract is not generated here: reason (field 1), domain (2), metadata (3). */
function readErrorInfo(bytes: Uint8Array): ErrorInfo {
  const info: ErrorInfo = { reason: "", domain: "", metadata: {} };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) {
      info.reason = reader.string();
    } else if (field === 2) {
      info.domain = reader.string();
    } else if (field === 3) {
      const [key, value] = readEntry(reader.bytes());
      info.metadata[key] = value;
    } else {
      reader.skip(type, field);
    }
  }
  return info;
}

/** Read an entry of a map of strings. */
function readEntry(bytes: Uint8Array): [string, string] {
  const entry: [string, string] = ["", ""];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    entry[field === 1 ? 0 : 1] = reader.string();
  }
  return entry;
}

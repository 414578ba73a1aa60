import { Code } from "@connectrpc/connect";
import { ApiError, fromHttp, toApiError } from "../api/errors";

/** Codes of Shaka's errors: a server refused something, and what that was. */
const BAD_HTTP_STATUS = 1001;
const LICENSE_REQUEST_FAILED = 6007;

interface ShakaError {
  category: number;
  code: number;
  data: unknown[];
}

/** Turn what ended playing into an error with a reason: the server's own where it refused a license. */
export function failure(error: unknown): ApiError {
  if (!isShakas(error)) {
    return toApiError(error);
  }
  const [cause] = error.data;
  if (error.code === LICENSE_REQUEST_FAILED && isShakas(cause)) {
    if (cause.code === BAD_HTTP_STATUS) {
      const [, status, body] = cause.data;
      return fromHttp(Number(status), String(body));
    }
    const refused = cause.data.find((part) => part instanceof ApiError);
    if (refused instanceof ApiError) {
      return refused; // asking for an address was refused
    }
  }
  return new ApiError("the video could not be played", Code.Unknown, `SHAKA_${error.code}`);
}

/** Return what telemetry calls an error that a viewer sees: Shaka's code, or the reason that the server gave. */
export function errorCode(error: unknown, shown: ApiError): string {
  return isShakas(error) ? `${error.code}` : shown.reason || Code[shown.code];
}

function isShakas(error: unknown): error is ShakaError {
  return typeof error === "object" && error !== null && "category" in error && "code" in error;
}

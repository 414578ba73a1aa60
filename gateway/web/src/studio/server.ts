import type { Clients } from "../api/clients";
import { ORGANIZATION } from "../api/names";
import { putSlice } from "../api/slices";
import type { Upload } from "../gen/reelmesh/ingest/v1/upload_pb";
import type { UploadServer } from "./upload";

/** The real server. */
export function uploadServer({ uploads: client, session }: Clients): UploadServer {
  return {
    async create(file, wanted, requestId) {
      const upload = { displayName: file.name, totalSize: BigInt(file.size), ...wanted };
      return present((await client.createUpload({ parent: ORGANIZATION, upload, requestId })).upload);
    },
    async get(name) {
      return present((await client.getUpload({ name })).upload);
    },
    async put(slice, onProgress, signal) {
      return putSlice(slice, await session.authorization(), onProgress, signal);
    },
  };
}

function present(upload: Upload | undefined): Upload {
  if (upload === undefined) {
    throw new Error("the server answered without the upload");
  }
  return upload;
}

import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { VideoService } from "../gen/reelmesh/catalog/v1/video_service_pb";
import { UploadService } from "../gen/reelmesh/ingest/v1/upload_service_pb";
import { PlaybackService } from "../gen/reelmesh/playback/v1/playback_service_pb";
import { JobService } from "../gen/reelmesh/transcode/v1/job_service_pb";

/** The services that the pages use, over gRPC-Web. */
export interface Clients {
  videos: Client<typeof VideoService>;
  uploads: Client<typeof UploadService>;
  jobs: Client<typeof JobService>;
  playback: Client<typeof PlaybackService>;
}

/** Make clients of the gateway at `baseUrl`. A call without a deadline of its own gets 15 seconds. */
export function createClients(baseUrl: string): Clients {
  const transport = createGrpcWebTransport({ baseUrl, defaultTimeoutMs: 15_000 });
  return {
    videos: createClient(VideoService, transport),
    uploads: createClient(UploadService, transport),
    jobs: createClient(JobService, transport),
    playback: createClient(PlaybackService, transport),
  };
}

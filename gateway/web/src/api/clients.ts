import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { Session } from "../account/session";
import { AnalyticsService } from "../gen/reelmesh/analytics/v1/analytics_service_pb";
import { CheckoutService } from "../gen/reelmesh/billing/v1/checkout_service_pb";
import { VideoService } from "../gen/reelmesh/catalog/v1/video_service_pb";
import { DiscoveryService } from "../gen/reelmesh/discovery/v1/discovery_service_pb";
import { AccountService } from "../gen/reelmesh/identity/v1/account_service_pb";
import { UploadService } from "../gen/reelmesh/ingest/v1/upload_service_pb";
import { PlaybackService } from "../gen/reelmesh/playback/v1/playback_service_pb";
import { RecommendationService } from "../gen/reelmesh/recommend/v1/recommendation_service_pb";
import { TelemetryService } from "../gen/reelmesh/telemetry/v1/telemetry_service_pb";
import { JobService } from "../gen/reelmesh/transcode/v1/job_service_pb";

/** The services that the pages use, over gRPC-Web, and who is signed in. */
export interface Clients {
  session: Session;
  accounts: Client<typeof AccountService>;
  videos: Client<typeof VideoService>;
  uploads: Client<typeof UploadService>;
  jobs: Client<typeof JobService>;
  playback: Client<typeof PlaybackService>;
  checkout: Client<typeof CheckoutService>;
  telemetry: Client<typeof TelemetryService>;
  analytics: Client<typeof AnalyticsService>;
  discovery: Client<typeof DiscoveryService>;
  recommendations: Client<typeof RecommendationService>;
}

/**
 * Make clients of the gateway at `baseUrl`; calls are signed where someone is signed in. A call without a deadline of its
 * own gets 15 seconds.
 */
export function createClients(baseUrl: string): Clients {
  const settings = { baseUrl, defaultTimeoutMs: 15_000 };
  // Unsigned, or a refresh would wait for itself.
  const refresher = createClient(AccountService, createGrpcWebTransport(settings));
  const session = new Session(localStorage, (refreshToken) => refresher.refreshTokens({ refreshToken }));
  const transport = createGrpcWebTransport({ ...settings, interceptors: [signed(session)] });
  return {
    session,
    accounts: createClient(AccountService, transport),
    videos: createClient(VideoService, transport),
    uploads: createClient(UploadService, transport),
    jobs: createClient(JobService, transport),
    playback: createClient(PlaybackService, transport),
    checkout: createClient(CheckoutService, transport),
    // Unsigned: its token says whose it is, and the gateway need not learn who they are.
    telemetry: createClient(TelemetryService, createGrpcWebTransport(settings)),
    analytics: createClient(AnalyticsService, transport),
    discovery: createClient(DiscoveryService, transport),
    recommendations: createClient(RecommendationService, transport),
  };
}

function signed(session: Session): Interceptor {
  return (next) => async (request) => {
    const authorization = await session.authorization();
    if (authorization !== undefined) {
      request.header.set("authorization", authorization);
    }
    return next(request);
  };
}

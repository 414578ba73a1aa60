import type { TelemetryEvent } from "../../gen/reelmesh/telemetry/v1/event_pb";
import type { Details } from "./observation";

/** An event as the contract writes it. */
export type Measured = Pick<TelemetryEvent, "eventId" | "eventTimeMs" | "sequence" | "type"> &
  Partial<Omit<TelemetryEvent, "$typeName" | "$unknown">>;

/** Write what was seen of the media and the network at the time of an event. */
export function seen(details: Details) {
  return {
    bitrateKbps: whole(details.bitrate / 1000),
    topBitrateKbps: whole(details.topBitrate / 1000),
    bufferMs: whole(1000 * details.buffer),
    throughputKbps: whole(details.throughput / 1000),
    cdn: details.cdn,
  };
}

/** A number as the contract carries it; what is not finite, or below nothing, was not measured. */
export function whole(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.max(0, Math.round(value))) : 0n;
}

import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { type Price, Price_Interval } from "../gen/reelmesh/billing/v1/price_pb";

/** Return a Duration in seconds; 0 where it is absent. */
export function seconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) + duration.nanos / 1e9;
}

/** Return seconds as a Duration. */
export function duration(value: number): { seconds: bigint; nanos: number } {
  const whole = Math.floor(value);
  return { seconds: BigInt(whole), nanos: Math.floor((value - whole) * 1e9) };
}

/** Write seconds as a clock does: 1:05, 2:03:09. */
export function clock(value: number): string {
  const total = Number.isFinite(value) ? Math.max(0, Math.floor(value)) : 0;
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const padded = `${rest}`.padStart(2, "0");
  return hours > 0 ? `${hours}:${`${minutes}`.padStart(2, "0")}:${padded}` : `${minutes}:${padded}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Write a number of bytes for people. */
export function bytes(value: number): string {
  const power = value > 0 ? Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10)) : 0;
  const digits = power > 1 ? 1 : 0;
  return `${(value / 1024 ** power).toFixed(digits)} ${UNITS[power]}`;
}

/** Write a moment in the reader's own way. */
export function moment(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) {
    return "";
  }
  const date = new Date(Number(timestamp.seconds) * 1000);
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** A price as people write it: "€9.99 a month". */
export function price({ amount, currency, interval }: Price): string {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency: currency.toUpperCase() });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(Number(amount) / 10 ** digits) + PERIODS[interval];
}

const PERIODS: Record<Price_Interval, string> = {
  [Price_Interval.UNSPECIFIED]: "",
  [Price_Interval.MONTH]: " a month",
  [Price_Interval.YEAR]: " a year",
};

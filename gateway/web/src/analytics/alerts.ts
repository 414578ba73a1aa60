import { timestampDate } from "@bufbuild/protobuf/wkt";
import { html } from "lit";
import type { Alert } from "../gen/reelmesh/analytics/v1/alert_pb";
import { Dimension, Metric } from "../gen/reelmesh/analytics/v1/report_pb";
import { count, DIMENSIONS, dimensions, percent, valueName } from "./figures";

/** What is wrong, where, and since when. */
export function alertBox(alert: Alert, titles: ReadonlyMap<string, string>) {
  const { metric, evidence } = alert;
  const what = metric === Metric.REBUFFER_RATIO ? "Rebuffering" : "Failures";
  const name = dimensions().find(([, { dimension }]) => dimension === alert.dimension)?.[0];
  const where =
    name === undefined || alert.dimension === Dimension.UNSPECIFIED
      ? ""
      : `, ${DIMENSIONS[name].label.toLowerCase()} ${valueName(name, alert.value, titles)}`;
  const since = alert.startTime ? timestampDate(alert.startTime).toLocaleString() : "";
  return html`<div class="alert" role="alert">
    <strong>${what} ${percent(evidence?.observed ?? Number.NaN)}${where}</strong>
    <span>
      ${percent(evidence?.baseline ?? Number.NaN)} is usual at this hour. Since ${since}, in
      ${count(Number(evidence?.observedViews ?? 0))} views.
    </span>
  </div>`;
}

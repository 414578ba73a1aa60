import { html, nothing, type TemplateResult } from "lit";
import type { GetRetentionResponse } from "../gen/reelmesh/analytics/v1/analytics_service_pb";
import { type ChartData, chart } from "./chart";
import { count, percent, second, valueName } from "./figures";
import type { Go } from "./view";

/** What the section shows and does. */
export interface Retention {
  /** Videos to choose from. */
  videos: string[];
  /** The one that is shown, and how much of it was watched. */
  retained: string | undefined;
  retention: GetRetentionResponse | undefined;
  titles: ReadonlyMap<string, string>;
  go: Go;
}

/** How much of a video was watched, second by second. */
export function retentionSection({
  videos,
  retained,
  retention,
  titles,
  go,
}: Retention): TemplateResult | typeof nothing {
  if (retained === undefined) {
    return nothing;
  }
  const choices = videos.includes(retained) ? videos : [retained, ...videos];
  const starts = Number(retention?.starts ?? 0);
  const points = retention?.points ?? [];
  const data: ChartData = {
    title: valueName("video", retained, titles),
    note: `Of ${count(starts)} starts, how many played each second; a second look counts again.`,
    x: points.map((point) => point.second),
    axis: "other",
    formatX: second,
    lines: [{ label: "Playing", color: "accent", kind: "area", values: points.map(({ ratio }) => ratio) }],
    format: percent,
  };
  const pick = (event: Event) => go({ video: choices[(event.target as HTMLSelectElement).selectedIndex] });
  return html`<section aria-labelledby="retention">
    <div class="heading">
      <h2 id="retention">Retention</h2>
      <span class="field">
        <label for="video">Video</label>
        <select id="video" @change=${pick}>
          ${choices.map(
            (video) =>
              html`<option ?selected=${video === retained}>${valueName("video", video, titles)}</option>`,
          )}
        </select>
      </span>
    </div>
    ${points.length > 0 ? chart(data) : html`<p class="empty">No second of it has played in these days.</p>`}
  </section>`;
}

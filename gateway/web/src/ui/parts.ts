import { Code } from "@connectrpc/connect";
import { html, nothing, type TemplateResult } from "lit";
import type { ApiError } from "../api/errors";
import { Video_State } from "../gen/reelmesh/catalog/v1/video_pb";
import { type Job, Job_State } from "../gen/reelmesh/transcode/v1/job_pb";
import { signInPath } from "./forms";

/** An error with the reason that support can look up. */
export function errorBox(error: ApiError | undefined, retry?: () => void): TemplateResult | typeof nothing {
  if (error === undefined) {
    return nothing;
  }
  return html`<div class="error" role="alert">
    <p>
      <strong>${capital(error.message)}</strong>
      ${error.reason ? html`<code>${error.reason}</code>` : nothing}
    </p>
    ${error.code === Code.Unauthenticated ? html`<a class="button" href=${signInPath()}>Sign in</a>` : nothing}
    ${retry ? html`<button type="button" @click=${retry}>Try again</button>` : nothing}
  </div>`;
}

const STATES: Record<Video_State, string> = {
  [Video_State.UNSPECIFIED]: "Unknown",
  [Video_State.DRAFT]: "No source yet",
  [Video_State.PROCESSING]: "Processing",
  [Video_State.PLAYABLE]: "Playable, still encoding",
  [Video_State.READY]: "Ready",
  [Video_State.FAILED]: "Failed",
};

/** Where a video stands, in words and color. */
export function stateBadge(state: Video_State): TemplateResult {
  return html`<span class="badge" data-state=${Video_State[state]}>${STATES[state]}</span>`;
}

/** A labelled bar; `value` is a part of 1, or undefined where nobody knows. */
export function bar(label: string, value: number | undefined, text: string): TemplateResult {
  const id = `bar-${label.toLowerCase().replaceAll(" ", "-")}`;
  return html`<div class="progress">
    <label for=${id}>${label}</label>
    ${value === undefined ? html`<progress id=${id}></progress>` : html`<progress id=${id} max="1" .value=${value}></progress>`}
    <span class="figure">${text}</span>
  </div>`;
}

/** How far a job is. */
export function jobProgress(job: Job): TemplateResult {
  const { tasks = 0, tasksDone = 0 } = job.progress ?? {};
  const words: Record<Job_State, string> = {
    [Job_State.UNSPECIFIED]: "Waiting",
    [Job_State.INSPECTING]: "Looking at the source",
    [Job_State.ENCODING]: job.playable ? "Playable while the rest is encoded" : "Encoding",
    [Job_State.READY]: "All encoded",
    [Job_State.FAILED]: "Encoding failed",
    [Job_State.CANCELLED]: "Encoding was cancelled",
  };
  const known = job.state === Job_State.ENCODING || job.state === Job_State.READY;
  return html`<section class="job" aria-label="Encoding" data-state=${Job_State[job.state]} ?data-playable=${job.playable}>
    ${bar("Encoding", known && tasks > 0 ? tasksDone / tasks : undefined, `${tasksDone} of ${tasks} tasks`)}
    <p role="status">${words[job.state]}${job.failure ? html`: ${job.failure.message} <code>${job.failure.reason}</code>` : nothing}</p>
  </section>`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

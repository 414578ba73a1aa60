import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { watchJob } from "../api/jobs";
import { watchPath } from "../api/names";
import { sleep } from "../api/waiting";
import { type Upload, Upload_Protection } from "../gen/reelmesh/ingest/v1/upload_pb";
import type { Job } from "../gen/reelmesh/transcode/v1/job_pb";
import { Checksums } from "../studio/checksums";
import { browserMemory } from "../studio/memory";
import { uploadServer } from "../studio/server";
import { type UploadProgress, uploadFile } from "../studio/upload";
import { bytes } from "../ui/format";
import { bar, errorBox, jobProgress } from "../ui/parts";
import { View } from "../ui/view";

const PROTECTIONS = [
  [Upload_Protection.UNSPECIFIED, "As the installation does"],
  [Upload_Protection.CLEAR, "Not encrypted"],
  [Upload_Protection.DRM, "Encrypted, players need licenses"],
] as const;

interface State {
  file: File | undefined;
  title: string;
  protection: Upload_Protection;
  dropping: boolean;
  progress: UploadProgress | undefined;
  upload: Upload | undefined;
  job: Job | undefined;
  error: ApiError | undefined;
  busy: boolean;
}

/** `/upload`: choose or drop a file, see it go, and watch it as soon as it is playable. */
export class UploadPage extends View<State> {
  readonly #clients: Clients;
  #stop: AbortController | undefined;

  constructor(clients: Clients) {
    super({
      file: undefined,
      title: "",
      protection: Upload_Protection.UNSPECIFIED,
      dropping: false,
      progress: undefined,
      upload: undefined,
      job: undefined,
      error: undefined,
      busy: false,
    });
    this.#clients = clients;
    this.gone.addEventListener("abort", () => this.#stop?.abort());
  }

  #choose(file: File | undefined): void {
    if (file !== undefined && !this.state.busy) {
      const title = file.name.replace(/\.[^.]+$/, "");
      this.set({ file, title, progress: undefined, upload: undefined, job: undefined, error: undefined });
    }
  }

  async #start(): Promise<void> {
    const { file, title, protection } = this.state;
    if (file === undefined || this.state.busy) {
      return;
    }
    this.set({ busy: true, error: undefined });
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const checksums = new Checksums();
    try {
      const dependencies = {
        server: uploadServer(this.#clients),
        memory: browserMemory,
        checksum: (blob: Blob) => checksums.of(blob),
      };
      const upload = await uploadFile(
        file,
        { title, protection },
        dependencies,
        (progress) => this.set({ progress }),
        signal,
      );
      this.set({ upload });
      await this.#follow(upload.video, signal);
    } catch (error) {
      this.set({ error: toApiError(error) });
    } finally {
      checksums.close();
      this.set({ busy: false });
    }
  }

  /** Show the encoding. The video is made, and its job known, a moment after the upload. */
  async #follow(name: string, signal: AbortSignal): Promise<void> {
    let job = "";
    while (job === "") {
      try {
        const { video } = await this.#clients.videos.getVideo({ name }, { signal });
        job = video?.job ?? "";
      } catch (error) {
        if (toApiError(error).reason !== "VIDEO_UNKNOWN" && !toApiError(error).retryable) {
          throw error;
        }
      }
      if (job === "") {
        await sleep(500, signal);
      }
    }
    for await (const state of watchJob(this.#clients.jobs, job, signal)) {
      this.set({ job: state });
    }
  }

  protected override render() {
    const { file, title, busy, error, upload, job } = this.state;
    return html`<h1>Upload</h1>
      <form
        class="upload"
        @submit=${(event: Event) => {
          event.preventDefault();
          void this.#start();
        }}
      >
        ${this.#dropArea()}
        <label for="title">Title</label>
        <input
          id="title"
          type="text"
          maxlength="500"
          .value=${title}
          ?disabled=${busy || !file}
          @input=${(event: Event) => this.set({ title: (event.target as HTMLInputElement).value })}
        />
        <label for="protection">Protection</label>
        <select
          id="protection"
          ?disabled=${busy || !file}
          @change=${(event: Event) =>
            this.set({ protection: Number((event.target as HTMLSelectElement).value) })}
        >
          ${PROTECTIONS.map(
            ([value, text]) =>
              html`<option value=${value} ?selected=${value === this.state.protection}>${text}</option>`,
          )}
        </select>
        <div class="actions">
          <button type="submit" class="primary" ?disabled=${busy || !file || upload !== undefined}>
            ${error ? "Resume" : "Upload"}
          </button>
          ${busy && !upload ? html`<button type="button" @click=${() => this.#stop?.abort()}>Stop</button>` : nothing}
        </div>
      </form>
      ${errorBox(error)} ${this.#sending()} ${job ? jobProgress(job) : nothing}
      ${upload && !job && !error ? html`<p role="status">Uploaded. Waiting for the encoding to begin…</p>` : nothing}
      ${upload && job?.playable ? html`<p><a class="button primary" href=${watchPath(upload.video)}>Watch it</a></p>` : nothing}`;
  }

  #dropArea() {
    const { file, dropping, busy } = this.state;
    const over = (event: DragEvent) => {
      event.preventDefault();
      this.set({ dropping: !busy });
    };
    const drop = (event: DragEvent) => {
      event.preventDefault();
      this.set({ dropping: false });
      this.#choose(event.dataTransfer?.files[0]);
    };
    return html`<div
      class="drop"
      ?data-over=${dropping}
      @dragover=${over}
      @dragleave=${() => this.set({ dropping: false })}
      @drop=${drop}
    >
      <label for="file">Choose a video file, or drop one here</label>
      <input
        id="file"
        type="file"
        accept="video/*,.mkv,.ts,.mxf"
        ?disabled=${busy}
        @change=${(event: Event) => this.#choose((event.target as HTMLInputElement).files?.[0])}
      />
      ${file ? html`<p>${file.name} · ${bytes(file.size)}</p>` : nothing}
    </div>`;
  }

  #sending() {
    const { progress } = this.state;
    if (progress === undefined) {
      return nothing;
    }
    const { sent, total, resumedFrom, trouble } = progress;
    return html`<section aria-label="Upload">
      ${bar("Upload", sent / total, `${bytes(sent)} of ${bytes(total)}`)}
      ${resumedFrom > 0 ? html`<p>Resumed at ${bytes(resumedFrom)}.</p>` : nothing}
      ${trouble ? html`<p role="status">Trying again: ${trouble.message} ${trouble.reason ? html`<code>${trouble.reason}</code>` : nothing}</p>` : nothing}
    </section>`;
  }
}

customElements.define("upload-page", UploadPage);

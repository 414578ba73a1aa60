import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { ORGANIZATION } from "../api/names";
import { knownViewer, viewer } from "../player/viewer";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

interface State {
  /** Undefined until the service has said. */
  enabled: boolean | undefined;
  busy: boolean;
  error: ApiError | undefined;
}

/** A switch that says whether what one watched is used. Sends "change" once it is set, and bubbles. */
export class PersonalizationSwitch extends View<State> {
  readonly #clients: Pick<Clients, "recommendations" | "session">;

  constructor(clients: Pick<Clients, "recommendations" | "session">) {
    super({ enabled: undefined, busy: false, error: undefined });
    this.#clients = clients;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  async #load(): Promise<void> {
    const known = knownViewer();
    if (known === undefined && this.#clients.session.account === undefined) {
      this.set({ enabled: true }); // nobody that anything could have been said of
      return;
    }
    try {
      const request = { parent: ORGANIZATION, viewer: known ?? "" };
      const { enabled } = await this.#clients.recommendations.getPersonalization(request, {
        signal: this.gone,
      });
      this.set({ enabled });
    } catch {
      // The service is away: then nothing is personal, and nothing can be said.
      if (!this.gone.aborted) {
        this.set({ enabled: undefined });
      }
    }
  }

  async #say(wanted: boolean): Promise<void> {
    this.set({ busy: true, error: undefined, enabled: wanted });
    try {
      // Who says something has to be recognized.
      const request = { parent: ORGANIZATION, viewer: viewer(), enabled: wanted };
      const { enabled } = await this.#clients.recommendations.updatePersonalization(request, {
        signal: this.gone,
      });
      this.set({ enabled, busy: false });
      this.dispatchEvent(new Event("change", { bubbles: true }));
    } catch (error) {
      if (!this.gone.aborted) {
        this.set({ enabled: !wanted, busy: false, error: toApiError(error) });
      }
    }
  }

  protected override render() {
    const { enabled, busy, error } = this.state;
    if (enabled === undefined) {
      return nothing;
    }
    const say = (event: Event) => {
      event.stopPropagation(); // it is not said yet
      void this.#say((event.target as HTMLInputElement).checked);
    };
    return html`<p class="personal">
        <label>
          <input
            type="checkbox"
            role="switch"
            aria-describedby="personal-means"
            .checked=${enabled}
            ?disabled=${busy}
            @change=${say}
          />
          Personal recommendations
        </label>
        <small id="personal-means">
          While this is on, rows are chosen from what you watched; turned off, you see what everyone sees from now on, and no
          model learns from what you watched.
        </small>
      </p>
      ${errorBox(error)}`;
  }
}

customElements.define("personalization-switch", PersonalizationSwitch);

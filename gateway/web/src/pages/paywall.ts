import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { uuid } from "../api/ids";
import { ORGANIZATION } from "../api/names";
import { type Price, Price_Kind } from "../gen/reelmesh/billing/v1/price_pb";
import { price } from "../ui/format";
import { signInPath } from "../ui/forms";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

/** What stands in a viewer's way, by the reason that billing gives. */
const REASONS: Readonly<Record<string, string>> = {
  SIGN_IN_REQUIRED: "Sign in to watch",
  MEMBERS_ONLY: "This video is for members",
  SUBSCRIPTION_REQUIRED: "Subscribe to watch",
  RENTAL_REQUIRED: "Rent this video to watch",
  RENTAL_EXPIRED: "Your rental is over",
  PURCHASE_REQUIRED: "Buy this video to watch",
  NOT_IN_COUNTRY: "This video is not available where you are",
  NOT_YET_AVAILABLE: "This video is not available yet",
  NO_LONGER_AVAILABLE: "This video is no longer available",
  DEVICE_LIMIT: "You watch on as many devices as you may",
  STREAM_LIMIT: "You are watching in as many places as you may",
  STREAM_TAKEN_OVER: "You are watching somewhere else",
  SESSION_SHARED: "This viewing was opened in too many places",
};

/** Reasons that another place of one's own stands behind. */
const ELSEWHERE = new Set(["STREAM_LIMIT", "STREAM_TAKEN_OVER"]);

/** True where an error is no failure: the viewer may not watch, or not now. */
export function isRefusal(error: ApiError): boolean {
  return error.domain === "reelmesh.playback" && error.reason in REASONS;
}

const VERBS: Record<Price_Kind, string> = {
  [Price_Kind.UNSPECIFIED]: "Get",
  [Price_Kind.SUBSCRIPTION]: "Subscribe",
  [Price_Kind.RENTAL]: "Rent",
  [Price_Kind.PURCHASE]: "Buy",
};

interface State {
  prices: Price[];
  error: ApiError | undefined;
}

/** Says why a video cannot be watched, and offers what would help. */
export class Paywall extends View<State> {
  readonly #clients: Clients;
  readonly #video: string;
  readonly #refusal: ApiError;
  readonly #takeOver: () => void;

  constructor(clients: Clients, video: string, refusal: ApiError, takeOver: () => void) {
    super({ prices: [], error: undefined });
    this.#clients = clients;
    this.#video = video;
    this.#refusal = refusal;
    this.#takeOver = takeOver;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  async #load(): Promise<void> {
    const offers = this.#refusal.metadata.offers?.split(" ") ?? [];
    if (offers.join("") === "") {
      return;
    }
    try {
      const { prices } = await this.#clients.checkout.listPrices({ parent: ORGANIZATION, pageSize: 500 });
      this.set({ prices: prices.filter(({ name, plan }) => offers.includes(name) || offers.includes(plan)) });
    } catch (error) {
      this.set({ error: toApiError(error) });
    }
  }

  async #buy(wanted: Price): Promise<void> {
    const { account } = this.#clients.session;
    if (account === undefined) {
      location.assign(signInPath());
      return;
    }
    try {
      const video = wanted.kind === Price_Kind.SUBSCRIPTION ? "" : this.#video;
      const request = { user: account.user, price: wanted.name, video, requestId: uuid() };
      const { uri } = await this.#clients.checkout.createCheckout(request);
      sessionStorage.setItem("after-checkout", location.pathname);
      location.assign(uri);
    } catch (error) {
      this.set({ error: toApiError(error) });
    }
  }

  protected override render() {
    const { reason } = this.#refusal;
    const { account } = this.#clients.session;
    return html`<section class="paywall" aria-labelledby="paywall">
      <h2 id="paywall">${REASONS[reason]} <code>${reason}</code></h2>
      ${account === undefined ? html`<a class="button" href=${signInPath()}>Sign in</a>` : nothing}
      ${this.state.prices.map((each) => this.#offer(each))}
      ${ELSEWHERE.has(reason) ? html`<button type="button" @click=${this.#takeOver}>Watch here instead</button>` : nothing}
      ${errorBox(this.state.error)}
    </section>`;
  }

  #offer(offered: Price) {
    return html`<p>
      ${offered.displayName}: ${price(offered)}
      <button type="button" @click=${() => void this.#buy(offered)}>${VERBS[offered.kind]}</button>
    </p>`;
  }
}

customElements.define("pay-wall", Paywall);

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { PersonalizationSwitch } from "../discovery/personalization";
import { type Order, Order_State } from "../gen/reelmesh/billing/v1/price_pb";
import type { Device } from "../gen/reelmesh/identity/v1/user_pb";
import { type ConsentWord, saidConsent, sayConsent } from "../player/telemetry/consent";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";
import "../discovery/discovery.css";

const STATES: Readonly<Record<Order_State, string>> = {
  [Order_State.UNSPECIFIED]: "",
  [Order_State.OPEN]: "not paid",
  [Order_State.TRIAL]: "on trial",
  [Order_State.PAID]: "paid",
  [Order_State.GRACE]: "payment failed",
  [Order_State.ENDING]: "ends",
  [Order_State.ENDED]: "ended",
  [Order_State.REFUNDED]: "refunded",
};
/** Where there is something to end; of what was bought once there is not, and the server says so. */
const RUNNING = new Set([Order_State.TRIAL, Order_State.PAID, Order_State.GRACE]);

const CONSENTS: Readonly<Record<ConsentWord, string>> = {
  granted: "Count me among the viewers",
  anonymous: "Measure playback, but not who I am",
  denied: "Measure nothing",
};

interface State {
  devices: Device[] | undefined;
  orders: Order[];
  error: ApiError | undefined;
}

/** `/account`: who is signed in, where else, and what they bought. */
export class AccountPage extends View<State> {
  readonly #clients: Clients;
  readonly #personalization: PersonalizationSwitch;

  constructor(clients: Clients) {
    super({ devices: undefined, orders: [], error: undefined });
    this.#clients = clients;
    this.#personalization = new PersonalizationSwitch(clients);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  async #load(): Promise<void> {
    const { account } = this.#clients.session;
    if (account === undefined) {
      location.assign("/sign-in?next=/account");
      return;
    }
    await this.#do(async () => {
      const { devices } = await this.#clients.accounts.listDevices({ parent: account.user });
      const { orders } = await this.#clients.checkout.listOrders({ user: account.user, pageSize: 100 });
      this.set({ devices, orders });
    });
  }

  async #signOut(): Promise<void> {
    const { account } = this.#clients.session;
    await this.#do(async () => {
      await this.#clients.accounts.logOut({ refreshToken: account?.refreshToken ?? "" });
    });
    this.#clients.session.signOut();
    location.assign("/");
  }

  async #do(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.set({ error: toApiError(error) });
    }
  }

  protected override render() {
    const { devices, orders, error } = this.state;
    const { account } = this.#clients.session;
    return html`<h1>Account</h1>
      ${errorBox(error)}
      ${
        account
          ? html`<p>Signed in as <strong>${account.email}</strong>.</p>
              <div class="actions"><button type="button" @click=${() => void this.#signOut()}>Sign out</button></div>`
          : nothing
      }
      ${
        devices
          ? html`<h2>Signed in at</h2>
              <ul class="devices">${devices.map((device) => this.#device(device))}</ul>`
          : nothing
      }
      ${
        orders.length > 0
          ? html`<h2>Bought</h2>
              <ul class="devices">${orders.map((order) => this.#order(order))}</ul>`
          : nothing
      }
      ${account ? this.#consent() : nothing}`;
  }

  #consent() {
    const said = saidConsent(localStorage);
    const say = (event: Event) => {
      const { value } = event.target as HTMLSelectElement;
      sayConsent(localStorage, value as ConsentWord);
    };
    const words = Object.entries(CONSENTS).map(
      ([word, text]) => html`<option value=${word} ?selected=${word === said}>${text}</option>`,
    );
    return html`<h2>Privacy</h2>
      <p class="field">
        <label for="consent">What players may tell of what you watch at this browser</label>
        <select id="consent" @change=${say}>
          ${said === undefined ? html`<option disabled selected>Not said</option>` : nothing} ${words}
        </select>
      </p>
      ${this.#personalization}`;
  }

  #order(order: Order) {
    const cancel = () =>
      this.#do(async () => {
        const id = order.name.slice(order.name.lastIndexOf("/") + 1);
        await this.#clients.checkout.cancelOrder({ user: order.user, order: id });
        await this.#load();
      });
    const until = order.expireTime ? ` until ${timestampDate(order.expireTime).toLocaleDateString()}` : "";
    const ends = order.video === "" && RUNNING.has(order.state);
    return html`<li>
      <span>${order.price.slice(order.price.lastIndexOf("/") + 1)} · ${STATES[order.state]}${until}</span>
      ${ends ? html`<button type="button" @click=${() => void cancel()}>Cancel</button>` : nothing}
    </li>`;
  }

  #device(device: Device) {
    const revoke = () =>
      this.#do(async () => {
        await this.#clients.accounts.revokeDevice({ name: device.name });
        await this.#load();
      });
    const last = device.refreshTime ? timestampDate(device.refreshTime).toLocaleString() : "";
    return html`<li>
      <span>${device.displayName || "Unknown device"} · ${device.address} · ${last}</span>
      <button type="button" @click=${() => void revoke()}>Sign out there</button>
    </li>`;
  }
}

customElements.define("account-page", AccountPage);

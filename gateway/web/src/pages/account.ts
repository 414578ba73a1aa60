import { timestampDate } from "@bufbuild/protobuf/wkt";
import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import type { Device } from "../gen/reelmesh/identity/v1/user_pb";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

interface State {
  devices: Device[] | undefined;
  error: ApiError | undefined;
}

/** `/account`: who is signed in, and where else. */
export class AccountPage extends View<State> {
  readonly #clients: Clients;

  constructor(clients: Clients) {
    super({ devices: undefined, error: undefined });
    this.#clients = clients;
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
      this.set({ devices });
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
    const { devices, error } = this.state;
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
      }`;
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

import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { type Order, Order_State } from "../gen/reelmesh/billing/v1/price_pb";
import { signInPath } from "../ui/forms";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

interface State {
  order: Order | undefined;
  error: ApiError | undefined;
}

/** `/checkout/{order}`: where buyers come back to, and where an installation without real payments takes test cards. */
export class CheckoutPage extends View<State> {
  readonly #clients: Clients;
  readonly #order: string;

  constructor(clients: Clients, order: string) {
    super({ order: undefined, error: undefined });
    this.#clients = clients;
    this.#order = order;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#do((user) => this.#clients.checkout.getOrder({ user, order: this.#order }));
  }

  async #do(ask: (user: string) => Promise<{ order?: Order | undefined }>): Promise<void> {
    const { account } = this.#clients.session;
    if (account === undefined) {
      location.assign(signInPath());
      return;
    }
    try {
      const { order } = await ask(account.user);
      this.set({ order, error: undefined });
    } catch (error) {
      this.set({ error: toApiError(error) });
    }
  }

  #pay(event: SubmitEvent): void {
    event.preventDefault();
    const card = String(new FormData(event.target as HTMLFormElement).get("card")).replaceAll(" ", "");
    void this.#do((user) => this.#clients.checkout.confirmTestPayment({ user, order: this.#order, card }));
  }

  protected override render() {
    const { order, error } = this.state;
    return html`<h1>Checkout</h1>
      ${errorBox(error)}
      ${order === undefined ? nothing : order.state === Order_State.OPEN ? this.#form() : this.#paid()}`;
  }

  #form() {
    return html`<form @submit=${(event: SubmitEvent) => this.#pay(event)}>
      <p>No money moves here: this installation takes test cards only, such as 4242 4242 4242 4242.</p>
      <label for="card">Card number</label>
      <input id="card" name="card" inputmode="numeric" autocomplete="off" required />
      <button type="submit">Pay</button>
    </form>`;
  }

  #paid() {
    const back = sessionStorage.getItem("after-checkout") ?? "/";
    return html`<p role="status">Thank you.</p>
      <p><a class="button" href=${back}>Go on</a></p>`;
  }
}

customElements.define("checkout-page", CheckoutPage);

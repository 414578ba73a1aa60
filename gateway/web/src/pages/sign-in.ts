import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { ORGANIZATION } from "../api/names";
import { deviceName, field, nextPath } from "../ui/forms";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

interface State {
  /** True once the account turned out to have a second factor. */
  asksCode: boolean;
  error: ApiError | undefined;
  busy: boolean;
}

/** `/sign-in` and `/sign-up`: who goes on to `?next=` afterwards. */
export class SignInPage extends View<State> {
  readonly #clients: Clients;
  readonly #isNew: boolean;

  constructor(clients: Clients, isNew: boolean) {
    super({ asksCode: false, error: undefined, busy: false });
    this.#clients = clients;
    this.#isNew = isNew;
  }

  async #submit(form: HTMLFormElement): Promise<void> {
    const given = new FormData(form);
    const text = (name: string) => String(given.get(name) ?? "");
    const who = { email: text("email").trim(), password: text("password"), device: deviceName() };
    this.set({ busy: true, error: undefined });
    try {
      const { accounts, session } = this.#clients;
      session.signIn(
        this.#isNew
          ? await accounts.register({ ...who, displayName: text("name"), organization: ORGANIZATION })
          : await accounts.logIn({ ...who, totpCode: text("code") }),
      );
      location.assign(nextPath());
    } catch (thrown) {
      const error = toApiError(thrown);
      const asksCode = this.state.asksCode || error.reason === "TOTP_REQUIRED";
      this.set({ error: error.reason === "TOTP_REQUIRED" ? undefined : error, asksCode, busy: false });
    }
  }

  protected override render() {
    const { asksCode, error, busy } = this.state;
    const submit = (event: Event) => {
      event.preventDefault();
      void this.#submit(event.target as HTMLFormElement);
    };
    const title = this.#isNew ? "Sign up" : "Sign in";
    return html`<h1>${title}</h1>
      <form class="account" @submit=${submit}>
        ${this.#isNew ? field("name", "Name", { autocomplete: "name", optional: true }) : nothing}
        ${field("email", "Email", { type: "email", autocomplete: "username" })}
        ${field("password", "Password", {
          type: "password",
          autocomplete: this.#isNew ? "new-password" : "current-password",
          ...(this.#isNew ? { minlength: 10, hint: "10 characters or more" } : {}),
        })}
        ${asksCode ? field("code", "Code of your authenticator app", { autocomplete: "one-time-code", pattern: "[0-9]{6}" }) : nothing}
        <div class="actions"><button type="submit" class="primary" ?disabled=${busy}>${title}</button></div>
      </form>
      ${errorBox(error)} ${this.#elsewhere()}`;
  }

  #elsewhere() {
    const query = location.search;
    return this.#isNew
      ? html`<p>You have an account? <a href="/sign-in${query}">Sign in</a></p>`
      : html`<p>No account yet? <a href="/sign-up${query}">Sign up</a></p>
          <p><a href="/reset-password">Forgot your password?</a></p>`;
  }
}

customElements.define("sign-in-page", SignInPage);

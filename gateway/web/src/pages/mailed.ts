import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { type ApiError, toApiError } from "../api/errors";
import { field } from "../ui/forms";
import { errorBox } from "../ui/parts";
import { View } from "../ui/view";

interface State {
  done: string;
  error: ApiError | undefined;
  busy: boolean;
}

/** Return the token of a mailed link. It stands behind the #, so that no server's log has it. */
function mailedToken(): string {
  return new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
}

/** `/verify-email#token=…`: what the mail of a registration leads to. */
export class VerifyEmailPage extends View<State> {
  readonly #clients: Clients;

  constructor(clients: Clients) {
    super({ done: "", error: undefined, busy: true });
    this.#clients = clients;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#clients.accounts
      .verifyEmail({ token: mailedToken() })
      .then(() => this.set({ done: "Thank you: your address is confirmed.", busy: false }))
      .catch((error) => this.set({ error: toApiError(error), busy: false }));
  }

  protected override render() {
    const { done, error } = this.state;
    return html`<h1>Confirm your address</h1>
      ${errorBox(error)} ${done ? html`<p role="status">${done}</p>` : nothing}`;
  }
}

/** `/reset-password`: asks for a mail; with the token of one, for the new password. */
export class ResetPasswordPage extends View<State> {
  readonly #clients: Clients;

  constructor(clients: Clients) {
    super({ done: "", error: undefined, busy: false });
    this.#clients = clients;
  }

  async #submit(form: HTMLFormElement): Promise<void> {
    const given = new FormData(form);
    const token = mailedToken();
    this.set({ busy: true, error: undefined });
    try {
      if (token) {
        await this.#clients.accounts.resetPassword({ token, password: String(given.get("password")) });
        this.set({ done: "Your new password counts from now on." });
      } else {
        await this.#clients.accounts.requestPasswordReset({ email: String(given.get("email")).trim() });
        this.set({ done: "If there is such an account, a mail is on its way." });
      }
    } catch (error) {
      this.set({ error: toApiError(error) });
    } finally {
      this.set({ busy: false });
    }
  }

  protected override render() {
    const { done, error, busy } = this.state;
    const submit = (event: Event) => {
      event.preventDefault();
      void this.#submit(event.target as HTMLFormElement);
    };
    const asked = mailedToken()
      ? field("password", "New password", {
          type: "password",
          autocomplete: "new-password",
          minlength: 10,
          hint: "10 characters or more",
        })
      : field("email", "Email", { type: "email", autocomplete: "username" });
    return html`<h1>Choose a new password</h1>
      ${
        done
          ? html`<p role="status">${done} <a href="/sign-in">Sign in</a></p>`
          : html`<form class="account" @submit=${submit}>
              ${asked}
              <div class="actions"><button type="submit" class="primary" ?disabled=${busy}>Go on</button></div>
            </form>`
      }
      ${errorBox(error)}`;
  }
}

customElements.define("verify-email-page", VerifyEmailPage);
customElements.define("reset-password-page", ResetPasswordPage);

import { html } from "lit";
import { View } from "../ui/view";

/** Says that there is no such page. */
export class MissingPage extends View<object> {
  constructor() {
    super({});
  }

  protected override render() {
    return html`<h1>There is no such page</h1>
      <p><a href="/">Go to the home page</a></p>`;
  }
}

customElements.define("missing-page", MissingPage);

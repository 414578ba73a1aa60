import { html, nothing } from "lit";
import type { Clients } from "../api/clients";
import { ORGANIZATION, titlePath } from "../api/names";
import { navigate } from "../router";
import { View } from "../ui/view";
import { Suggester, type Suggestion } from "./suggester";
import { readFinding, searchPath } from "./view";
import { viewerContext } from "./viewing";
import { factsOf, nameOf } from "./words";

interface State {
  suggestions: Suggestion[];
  /** The one that is pointed at by keys; -1 for what is typed. */
  active: number;
  open: boolean;
}

/**
 * The search of the header: a combobox with a list (WAI-ARIA 1.2), which suggests while one types. A suggestion that names a
 * title leads to it, another one is searched for.
 */
export class SearchBox extends View<State> {
  readonly #suggester: Suggester;

  constructor({ discovery }: Pick<Clients, "discovery">) {
    super({ suggestions: [], active: -1, open: false });
    this.#suggester = new Suggester(
      async (prefix, signal) => {
        const request = { parent: ORGANIZATION, prefix, viewer: viewerContext() };
        return (await discovery.suggest(request, { signal })).suggestions;
      },
      (suggestions) => this.set({ suggestions, active: -1, open: suggestions.length > 0 }),
    );
  }

  /** Show what the page's address searches for, as it is gone to: a page that comes later must not take what is typed. */
  showAddress(): void {
    this.#close();
    const query = location.pathname === "/search" ? readFinding(location.search).query : "";
    void this.updateComplete.then(() => {
      if (this.#input !== null) {
        this.#input.value = query;
      }
    });
  }

  get #input(): HTMLInputElement | null {
    return this.querySelector("input");
  }

  #close(): void {
    this.#suggester.stop();
    this.set({ suggestions: [], active: -1, open: false });
  }

  #go(suggestion: Suggestion | undefined): void {
    const query = this.#input?.value.trim() ?? "";
    this.#close();
    if (suggestion?.title) {
      navigate(titlePath(suggestion.title.title));
    } else if (suggestion || query !== "") {
      navigate(searchPath(suggestion?.query ?? query));
    }
  }

  readonly #typed = (event: Event) => {
    // A word that is being composed is not one yet.
    if (!(event as InputEvent).isComposing) {
      void this.#suggester.typed((event.target as HTMLInputElement).value);
    }
  };

  readonly #key = (event: KeyboardEvent) => {
    const { suggestions, active, open } = this.state;
    if (event.isComposing) {
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      // What is typed is one place of the circle.
      const places = suggestions.length + 1;
      const next = open ? ((active + 1 + step + places) % places) - 1 : -1;
      this.set({ open: suggestions.length > 0, active: next });
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      this.set({ open: false, active: -1 });
    } else if (event.key === "Tab") {
      this.#close();
    }
  };

  readonly #submit = (event: Event) => {
    event.preventDefault();
    this.#go(this.state.suggestions[this.state.active]);
  };

  protected override render() {
    const { suggestions, active, open } = this.state;
    return html`<form class="search" action="/search" @submit=${this.#submit}>
      <input
        type="search"
        name="q"
        role="combobox"
        aria-label="Search films, series and people"
        placeholder="Search"
        autocomplete="off"
        autocapitalize="none"
        spellcheck="false"
        maxlength="256"
        aria-autocomplete="list"
        aria-controls="suggestions"
        aria-expanded=${open}
        aria-activedescendant=${active >= 0 ? `suggestion-${active}` : nothing}
        @input=${this.#typed}
        @compositionend=${this.#typed}
        @keydown=${this.#key}
        @blur=${() => this.#close()}
      />
      <button type="submit">Search</button>
      <ul id="suggestions" role="listbox" aria-label="Suggestions" ?hidden=${!open}>
        ${suggestions.map((suggestion, index) => this.#option(suggestion, index, index === active))}
      </ul>
      <span class="unseen" role="status">${open ? `${suggestions.length} suggestions` : ""}</span>
    </form>`;
  }

  #option(suggestion: Suggestion, index: number, active: boolean) {
    const { title, query } = suggestion;
    // The field keeps the focus; otherwise the list would be gone before the click.
    const keepFocus = (event: Event) => event.preventDefault();
    return html`<li
      id="suggestion-${index}"
      role="option"
      aria-selected=${active}
      @pointerdown=${keepFocus}
      @mousedown=${keepFocus}
      @click=${() => this.#go(suggestion)}
    >
      ${title ? nameOf(title) : query} <span class="quiet">${title ? factsOf(title).join(" · ") : "Search"}</span>
    </li>`;
  }
}

customElements.define("search-box", SearchBox);

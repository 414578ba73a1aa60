import { html, type nothing, type TemplateResult } from "lit";
import { View } from "../ui/view";

interface State {
  heading: string;
  tiles: readonly (TemplateResult | typeof nothing)[];
  /** Whether there is more to the left and to the right of what is seen. */
  before: boolean;
  after: boolean;
}

/** Part of what is seen that a button moves on by: the last tile is seen again. */
const STEP = 0.85;

let made = 0;

/**
 * A row of titles, which is scrolled by its buttons, by hand, and by keys: the whole row is one stop of the Tab key, and
 * arrows, Home and End go through it.
 */
export class TitleRow extends View<State> {
  readonly #id = `row-${++made}`;
  readonly #resized = new ResizeObserver(() => this.#measure());
  #current = 0;

  constructor() {
    super({ heading: "", tiles: [], before: false, after: false });
  }

  set heading(heading: string) {
    this.set({ heading });
  }

  set tiles(tiles: State["tiles"]) {
    this.set({ tiles });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resized.disconnect();
  }

  get #strip(): HTMLElement | null {
    return this.querySelector("ul");
  }

  get #links(): HTMLElement[] {
    return [...this.querySelectorAll<HTMLElement>("li > a")];
  }

  protected override firstUpdated(): void {
    if (this.#strip !== null) {
      this.#resized.observe(this.#strip);
    }
  }

  protected override updated(): void {
    const links = this.#links;
    this.#current = Math.min(this.#current, Math.max(0, links.length - 1));
    for (const [index, link] of links.entries()) {
      link.tabIndex = index === this.#current ? 0 : -1;
    }
  }

  readonly #measure = () => {
    const strip = this.#strip;
    if (strip === null) {
      return;
    }
    // Widths are rounded: a pixel is no tile.
    const before = strip.scrollLeft > 1;
    const after = strip.scrollLeft + strip.clientWidth < strip.scrollWidth - 1;
    if (before !== this.state.before || after !== this.state.after) {
      this.set({ before, after });
    }
  };

  #move(direction: 1 | -1): void {
    const strip = this.#strip;
    strip?.scrollBy({ left: direction * STEP * strip.clientWidth });
  }

  readonly #key = (event: KeyboardEvent) => {
    const links = this.#links;
    const at = links.indexOf(document.activeElement as HTMLElement);
    const to: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      Home: 0,
      End: links.length - 1,
    };
    const next = to[event.key];
    if (at < 0 || next === undefined || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    event.preventDefault();
    links[Math.max(0, Math.min(next, links.length - 1))]?.focus();
  };

  readonly #focused = (event: FocusEvent) => {
    const at = this.#links.indexOf(event.target as HTMLElement);
    if (at >= 0) {
      this.#current = at;
      this.updated();
    }
  };

  /** A button at its end keeps the focus that it would lose if it were disabled. */
  protected override render() {
    const { heading, tiles, before, after } = this.state;
    return html`<section aria-labelledby=${this.#id}>
      <div class="row-head">
        <h2 id=${this.#id}>${heading}</h2>
        <div class="row-buttons" ?hidden=${!before && !after}>
          <button type="button" class="icon" aria-label="Back in ${heading}" aria-disabled=${!before} @click=${() => this.#move(-1)}>
            <span aria-hidden="true">‹</span>
          </button>
          <button type="button" class="icon" aria-label="On in ${heading}" aria-disabled=${!after} @click=${() => this.#move(1)}>
            <span aria-hidden="true">›</span>
          </button>
        </div>
      </div>
      <ul class="strip" @scroll=${this.#measure} @keydown=${this.#key} @focusin=${this.#focused}>
        ${tiles}
      </ul>
    </section>`;
  }
}

customElements.define("title-row", TitleRow);

/** A row of titles. */
export function titleRow(heading: string, tiles: State["tiles"]): TemplateResult {
  return html`<title-row .heading=${heading} .tiles=${tiles}></title-row>`;
}

import { LitElement } from "lit";

/**
 * A custom element that shows a state.
 *
 * It renders into the page itself, not into a shadow root: pages share one style sheet, and a label reaches its field.
 */
export abstract class View<State extends object> extends LitElement {
  #state: State;
  readonly #gone = new AbortController();

  constructor(state: State) {
    super();
    this.#state = state;
  }

  /** Aborted when the element leaves the page. */
  protected get gone(): AbortSignal {
    return this.#gone.signal;
  }

  protected get state(): Readonly<State> {
    return this.#state;
  }

  /** Change some of the state and show it. */
  protected set(change: Partial<State>): void {
    this.#state = { ...this.#state, ...change };
    this.requestUpdate();
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#gone.abort(new DOMException("the page was left", "AbortError"));
  }
}

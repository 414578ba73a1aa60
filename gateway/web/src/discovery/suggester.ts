import { sleep } from "../api/waiting";
import type { SuggestResponse_Suggestion } from "../gen/reelmesh/discovery/v1/discovery_service_pb";

export type Suggestion = SuggestResponse_Suggestion;

/** Asks what may be meant by the beginning of a query. */
export type Ask = (prefix: string, signal: AbortSignal) => Promise<Suggestion[]>;

/** How long a hand has to rest before the service is asked, in milliseconds; who types fast is not answered for each key. */
const REST = 80;

/**
 * Suggests while somebody types. Each change ends what the one before began, its waiting as well as its request, so that
 * answers never come late or out of order.
 */
export class Suggester {
  readonly #ask: Ask;
  readonly #show: (suggestions: Suggestion[]) => void;
  #turn = new AbortController();

  constructor(ask: Ask, show: (suggestions: Suggestion[]) => void) {
    this.#ask = ask;
    this.#show = show;
  }

  /** Suggest for what is typed by now. */
  async typed(text: string): Promise<void> {
    this.stop();
    const prefix = text.trim();
    if (prefix === "") {
      this.#show([]);
      return;
    }
    const { signal } = this.#turn;
    try {
      await sleep(REST, signal);
      const suggestions = await this.#ask(prefix, signal);
      signal.throwIfAborted();
      this.#show(suggestions);
    } catch {
      // Somebody typed on; or the service is away, and one can search without suggestions.
      if (!signal.aborted) {
        this.#show([]);
      }
    }
  }

  /** Ask no more for what was typed so far. */
  stop(): void {
    this.#turn.abort();
    this.#turn = new AbortController();
  }
}

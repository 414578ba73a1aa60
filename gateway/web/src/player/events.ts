/** Something that happened on the watch page. */
export interface PlayerEvent {
  /** Milliseconds since the page was opened. */
  time: number;
  /** What it was; README.md lists the types. */
  type: string;
  /** More about it; what it holds depends on the type. */
  detail: Record<string, unknown>;
}

/** A list of what happened, oldest first, kept short. */
export class EventLog {
  readonly entries: PlayerEvent[] = [];

  add(type: string, detail: Record<string, unknown> = {}): void {
    this.entries.push({ time: Math.round(performance.now()), type, detail });
    if (this.entries.length > 1000) {
      this.entries.shift();
    }
  }
}

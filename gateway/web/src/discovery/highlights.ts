/** A piece of text, and whether it is what was searched for. */
export interface Piece {
  text: string;
  found: boolean;
}

/** Split a text at ranges that are given in code points; those outside of it, or within each other, do no harm. */
export function pieces(text: string, ranges: readonly { start: number; end: number }[]): Piece[] {
  const characters = Array.from(text);
  const split: Piece[] = [];
  const add = (start: number, end: number, found: boolean) => {
    if (start < end) {
      split.push({ text: characters.slice(start, end).join(""), found });
    }
  };
  let reached = 0;
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const start = Math.max(reached, range.start);
    const end = Math.min(characters.length, range.end);
    if (start < end) {
      add(reached, start, false);
      add(start, end, true);
      reached = end;
    }
  }
  add(reached, characters.length, false);
  return split;
}

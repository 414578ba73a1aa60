import type { Memory } from "./upload";

/** Remembers uploads in the browser: the same file is one with the same name, size and time of change. */
export const browserMemory: Memory = {
  recall: (file) => localStorage.getItem(key(file)) ?? undefined,
  remember: (file, upload) => localStorage.setItem(key(file), upload),
  forget: (file) => localStorage.removeItem(key(file)),
};

function key(file: File): string {
  return `upload ${file.size} ${file.lastModified} ${file.name}`;
}

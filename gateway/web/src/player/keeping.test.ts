import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { keepViewing } from "./keeping";

describe("keeping a viewing", () => {
  it("goes on over errors that pass, and ends with one that does not", async () => {
    const answers = [
      undefined,
      new ConnectError("away", Code.Unavailable),
      undefined,
      new ConnectError("taken over", Code.PermissionDenied),
    ];
    let asked = 0;
    const keep = async () => {
      const answer = answers[asked];
      asked += 1;
      if (answer !== undefined) {
        throw answer;
      }
    };
    await expect(keepViewing(keep, 0, new AbortController().signal)).rejects.toThrow("taken over");
    expect(asked).toBe(4);
  });

  it("ends when the page is left", async () => {
    const page = new AbortController();
    const keep = async () => page.abort(new Error("left"));
    await expect(keepViewing(keep, 0, page.signal)).rejects.toThrow("left");
  });
});

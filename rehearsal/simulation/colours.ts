import { styleText } from "node:util";

// What is printed where there is no colour loses it there: a picture keeps it.
const styled = (format: Parameters<typeof styleText>[0]) => (text: string) =>
  styleText(format, text, { validateStream: false });

/** What is as it should be. */
export const good = styled("green");
/** What is wrong. */
export const bad = styled("red");
/** What is not known, or nearly used up. */
export const doubtful = styled("yellow");
/** What is there for completeness. */
export const faint = styled("dim");
/** Titles. */
export const strong = styled("bold");

/** What came of something that was asked. */
export type State = "ok" | "failed" | "unknown";

const MARKS: Readonly<Record<State, string>> = { ok: good("✓"), failed: bad("✗"), unknown: doubtful("?") };

/** The sign of a state. */
export function mark(state: State): string {
  return MARKS[state];
}

/** The last line of a command: what came of it, and the next step. */
export function verdict(state: State | boolean, text: string): string {
  const colour = { ok: good, failed: bad, unknown: doubtful };
  const known = typeof state === "string" ? state : state ? "ok" : "failed";
  return `${mark(known)} ${strong(colour[known](text))}`;
}

import Table from "cli-table3";

// "–", "-12.5", "3–6", "0.5/2", "1.5 cores", "12 of 110"
const NUMERIC = /^(–|-?[\d.]+([–/][\d.]+)?( ([GM]iB|cores?|of [\d.]+))?)$/;

/** A table as people read it: columns of numbers to the right, all others to the left. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const isNumeric = (column: number): boolean => rows.every((row) => NUMERIC.test(row[column] ?? ""));
  const all = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (isNumeric(column) ? "right" : "left")),
    style: { head: [], border: [] },
  });
  all.push(...rows.map((row) => [...row]));
  // A rule below the head, but none between rows: that would double the height.
  const [top = "", titles = "", rule = "", ...body] = all.toString().split("\n");
  return [top, titles, rule, ...body.filter((line) => !line.startsWith("├"))].join("\n");
}

const BAR_LENGTH = 10;

/** How much of something is used, as a bar and in percent. */
export function bar(part: number): string {
  const filled = Math.max(0, Math.min(BAR_LENGTH, Math.ceil(part * BAR_LENGTH)));
  return `${"█".repeat(filled)}${"░".repeat(BAR_LENGTH - filled)} ${`${Math.round(part * 100)}`.padStart(3)} %`;
}

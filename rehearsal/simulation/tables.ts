import { stripVTControlCharacters } from "node:util";
import Table from "cli-table3";
import { bad, doubtful, faint, good, strong } from "./colours";

// "–", "-12.5", "3–6", "0.5/2", "1.5 cores", "12 of 110"
const NUMERIC = /^(–|-?[\d.]+([–/][\d.]+)?( ([GM]iB|cores?|of [\d.]+))?)$/;

/** Columns of a log, a file or a picture. */
const WIDTH = 100;
const GAP = "  ";
const LINES = ["top", "bottom", "left", "mid", "right"];
const NO_LINES = Object.fromEntries(
  LINES.flatMap((line) => [line, `${line}-left`, `${line}-mid`, `${line}-right`].map((part) => [part, ""])),
);
const NARROWEST = 8;

/**
 * A table as people read it: columns of numbers to the right, all others to the left, cells wrapped so that lines fit. A row of a
 * single cell is a title for those below.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  width = process.stdout.isTTY ? process.stdout.columns : WIDTH,
): string {
  const full = rows.filter(({ length }) => length > 1);
  const columns = head.map((title, column) => [title, ...full.map((row) => row[column] ?? "")]);
  const widths = fitted(columns, width);
  const isNumeric = ([, ...cells]: string[]) => cells.every((cell) => NUMERIC.test(stripVTControlCharacters(cell)));
  const cut = (row: readonly string[]) => row.map((cell, column) => wrapped(cell, widths[column] ?? width));
  const made = new Table({
    colAligns: columns.map((cells) => (isNumeric(cells) ? "right" : "left")),
    chars: { ...NO_LINES, middle: GAP },
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
  });
  made.push(
    cut(head).map(strong),
    ...rows.map((row) => (row.length > 1 ? cut(row) : [{ content: row[0], colSpan: head.length }])),
  );
  const lines = made
    .toString()
    .split("\n")
    .map((line) => line.trimEnd());
  const titles = Math.max(...cut(head).map((title) => title.split("\n").length));
  const rule = "─".repeat(Math.max(...lines.map(widthOf)));
  return [...lines.slice(0, titles), faint(rule), ...lines.slice(titles)].join("\n");
}

function widthOf(cell: string): number {
  return Math.max(
    ...stripVTControlCharacters(cell)
      .split("\n")
      .map(({ length }) => length),
  );
}

/** The most that columns may take: the widest give way until all fit, as far as their cells can be wrapped. */
function fitted(columns: readonly (readonly string[])[], width: number): number[] {
  const widest = (cells: readonly string[]) => Math.max(0, ...cells.map(widthOf));
  const widths = columns.map(widest);
  const least = columns.map((cells) => Math.max(NARROWEST, widest(cells.filter(isColoured))));
  let tooMuch = widths.reduce((sum, one) => sum + one, 0) + (widths.length - 1) * GAP.length - width;
  for (; tooMuch > 0; tooMuch--) {
    const room = widths.map((one, column) => (one > (least[column] ?? 0) ? one : 0));
    if (Math.max(...room) === 0) break;
    const column = room.indexOf(Math.max(...room));
    widths[column] = (widths[column] ?? 0) - 1;
  }
  return widths;
}

function isColoured(cell: string): boolean {
  return stripVTControlCharacters(cell) !== cell;
}

/** Breaks a text into lines: between words, else after a mark within a name. What has colours is short, and stays whole. */
function wrapped(text: string, width: number): string {
  if (isColoured(text)) return text;
  return text
    .split("\n")
    .flatMap((line) => linesOf(line, width))
    .join("\n");
}

const MARKS = ["/", "-", ".", ",", ":"];

function linesOf(line: string, width: number): string[] {
  if (line.length <= width) return [line];
  const start = line.slice(0, width);
  const space = line.slice(0, width + 1).lastIndexOf(" ");
  const mark = Math.max(...MARKS.map((one) => start.lastIndexOf(one))) + 1;
  const [end = width] = [space, mark].filter((at) => at > width / 3);
  const rest = line.slice(end).trimStart();
  return [line.slice(0, end), ...(rest === "" ? [] : linesOf(rest, width))];
}

/**
 * A text of which each line fits a terminal: the rest of a long one stands below it, indented. Where no terminal is, a line stays whole,
 * for who searches it.
 */
export function folded(text: string, { isTTY = false, columns = WIDTH }: Partial<Screen>, indent = "  "): string {
  if (!isTTY) return text;
  const fold = (line: string): string[] => {
    if (widthOf(line) <= columns) return [line];
    const start = /^ */.exec(line)?.[0] ?? "";
    const [first = "", ...words] = line.trimStart().split(" ");
    const lines = [start + first];
    for (const word of words) {
      const longer = `${lines.at(-1)} ${word}`;
      if (widthOf(longer) <= columns) lines[lines.length - 1] = longer;
      else lines.push(start + indent + word);
    }
    return lines;
  };
  return text.split("\n").flatMap(fold).join("\n");
}

type Screen = Pick<NodeJS.WriteStream, "isTTY" | "columns">;

const BAR_LENGTH = 10;

/** From which share on something is nearly used up. */
const NEARLY = 0.9;

/** How much of something is used, as a bar and in percent. */
export function bar(part: number): string {
  const filled = Math.max(0, Math.min(BAR_LENGTH, Math.ceil(part * BAR_LENGTH)));
  const colour = part > 1 ? bad : part >= NEARLY ? doubtful : good;
  const rest = BAR_LENGTH - filled;
  const [used, free] = [filled > 0 ? colour("█".repeat(filled)) : "", rest > 0 ? faint("░".repeat(rest)) : ""];
  return `${used}${free} ${`${Math.round(part * 100)}`.padStart(3)} %`;
}

/** The first of many lines, and how many more there are. */
export function summedUp(lines: readonly string[], shown: number): string[] {
  const more = lines.length - shown;
  return more > 1 ? [...lines.slice(0, shown), faint(`… and ${more} more (--all)`)] : [...lines];
}

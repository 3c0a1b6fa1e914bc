import { faint } from "./colours";
import type { Report } from "./report";
import { render } from "./report-text";

// A character of a monospace font at 14 px, and its line.
const CELL = { width: 8.43, height: 18 };
const MARGIN = 16;
const COLUMNS = 100;

// What a terminal makes of the codes in `colours.ts`.
const STYLES: Readonly<Record<string, string>> = {
  "1": `font-weight="bold"`,
  "2": `fill="#6e7b8a"`,
  "31": `fill="#ff7b72"`,
  "32": `fill="#56d364"`,
  "33": `fill="#e3b341"`,
};
const ENDS: Readonly<Record<string, readonly string[]>> = { "22": ["1", "2"], "39": ["31", "32", "33"] };

/** The report as an SVG of what a terminal shows, for pull requests and documents. */
export function picture(report: Report): string {
  const command = faint(`$ npm run rehearse -- --stack ${report.stack}\n`);
  const lines = [...command.split("\n"), ...render({ ...report, envFile: undefined }, false, COLUMNS).split("\n")];
  const width = Math.ceil(COLUMNS * CELL.width) + 2 * MARGIN;
  const height = lines.length * CELL.height + 2 * MARGIN;
  const text = lines.flatMap((line, index) => spans(line, MARGIN + (index + 0.8) * CELL.height));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ` font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="#d7dde4">`,
    `<rect width="100%" height="100%" rx="8" fill="#1b222b"/>`,
    ...text,
    "</svg>\n",
  ].join("\n");
}

/** A line's parts of one style each, every one as wide as its characters whatever the font. */
function spans(line: string, y: number): string[] {
  let [column, active] = [0, new Set<string>()];
  // eslint-disable-next-line no-control-regex
  return line.split(/\u001b\[(\d+)m/).flatMap((part, index) => {
    if (index % 2 === 1) {
      const ended = ENDS[part];
      active = ended === undefined ? active.add(part) : new Set([...active].filter((code) => !ended.includes(code)));
      return [];
    }
    const start = column;
    column += part.length;
    if (part.trim() === "") return [];
    const x = (MARGIN + start * CELL.width).toFixed(1);
    const length = `textLength="${(part.length * CELL.width).toFixed(1)}" lengthAdjust="spacingAndGlyphs"`;
    const style = [...active].map((code) => STYLES[code]).join(" ");
    return [`<text x="${x}" y="${y.toFixed(1)}" ${length} ${style} xml:space="preserve">${escape(part)}</text>`];
  });
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

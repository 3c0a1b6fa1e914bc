import type { Arrow, System, Wiring } from "../../rehearsal/program/wiring";
import { byLayer, FONT, GREY, layerOf } from "./layers";

const CELL = { width: 31, height: 24 };
const MARGIN = 16;
const ROW_TITLES = 132;
const COLUMN_TITLES = 108;
// As far as a title that is turned by 45 degrees leans over the last column.
const LEAN = 84;
const LEGEND = 44;

/**
 * Who may connect to whom: a row for each system that calls, a column for each that is called, and in the cell the ports that
 * its pods listen on. A self-contained SVG.
 */
export function toMatrix({ systems, arrows }: Wiring): string {
  const ordered = byLayer(systems).flatMap(({ systems: members }) => members);
  const rows = ordered.filter(({ name }) => arrows.some(({ from }) => from === name));
  const columns = ordered.filter(({ name }) => arrows.some(({ to }) => to === name));
  const [left, top] = [MARGIN + ROW_TITLES, MARGIN + COLUMN_TITLES];
  const [right, bottom] = [left + columns.length * CELL.width, top + rows.length * CELL.height];
  const [width, height] = [right + LEAN, bottom + LEGEND];
  const middle = (index: number) => left + (index + 0.5) * CELL.width;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="${FONT}">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    ...rows.map((_, row) => line([left, top + row * CELL.height], [right, top + row * CELL.height])),
    ...columns.map((_, column) => line([left + column * CELL.width, top], [left + column * CELL.width, bottom])),
    line([left, bottom], [right, bottom]),
    line([right, top], [right, bottom]),
    ...columns.map((system, column) => {
      const turned = `transform="rotate(-45 ${middle(column)} ${top - 8})"`;
      return title(system, [middle(column), top - 8], `text-anchor="start" ${turned}`);
    }),
    ...rows.map((system, row) => title(system, [left - 8, top + (row + 0.5) * CELL.height + 4], `text-anchor="end"`)),
    ...rows.flatMap((from, row) =>
      columns.flatMap((to, column) => {
        const arrow = arrows.find((one) => one.from === from.name && one.to === to.name);
        return arrow === undefined ? [] : cell(arrow, to, [left + column * CELL.width, top + row * CELL.height]);
      }),
    ),
    `<text x="${MARGIN}" y="${bottom + 20}" font-size="10" fill="${GREY}">Rows call columns, on the ports in the cells.</text>`,
    `<text x="${MARGIN}" y="${bottom + 34}" font-size="10" fill="${GREY}">Dashed: scrapes, checks, calls from outside and webhook calls, which nothing waits for.</text>`,
    "</svg>\n",
  ].join("\n");
}

type Point = readonly [number, number];

function line([x1, y1]: Point, [x2, y2]: Point): string {
  return `<path d="M${x1} ${y1}L${x2} ${y2}" stroke="#e2e8f0"/>`;
}

function title(system: System, [x, y]: Point, look: string): string {
  return `<text x="${x}" y="${y}" font-size="11" font-weight="bold" fill="${layerOf(system).line}" ${look}>${system.name}</text>`;
}

function cell({ from, to, ports, observes }: Arrow, system: System, [x, y]: Point): string[] {
  const { fill, line: stroke } = layerOf(system);
  const [first = "", second] = ports;
  const texts = ports.length > 2 ? [first, `+ ${ports.length - 1}`] : second === undefined ? [first] : [first, second];
  const baseline = y + CELL.height / 2 + (texts.length === 1 ? 3 : -2);
  return [
    `<g><title>${from} to ${to}: ${ports.join(", ")}</title>`,
    `<rect x="${x + 1}" y="${y + 1}" width="${CELL.width - 2}" height="${CELL.height - 2}" rx="3" fill="${fill}" stroke="${stroke}"${observes ? ` stroke-dasharray="2 2"` : ""}/>`,
    ...texts.map(
      (text, index) =>
        `<text x="${x + CELL.width / 2}" y="${baseline + index * 9}" font-size="9" text-anchor="middle" fill="#334155">${text}</text>`,
    ),
    "</g>",
  ];
}

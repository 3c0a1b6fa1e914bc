import { stripVTControlCharacters } from "node:util";
import type { Capacity } from "../../program/capacity";
import { atLeast, isAtLeast, versionOf } from "../../program/contract-change";
import { written } from "../../program/units";
import { code, markdownTable } from "../markdown";
import { bar } from "../tables";
import { shortName } from "../events";
import { type Change, type Field, rolls, shrunk } from "./changes";
import type { ChartChange } from "./charts";
import type { ContractPreview, Preview, PreviewedStack, StackPreview } from "./preview";

/** A Markdown, what makes it red, and whether anything was cut off. */
export interface Written {
  readonly text: string;
  /** The text before it was cut. */
  readonly whole: string;
  /** Why the pull request is refused, the gravest reason first. */
  readonly reasons: readonly string[];
}

/** GitHub takes 65,536 characters. */
export const MOST_CHARACTERS = 60_000;

/** A remark about some stacks. */
interface Remark {
  readonly stack: string;
  readonly text: string;
  /** What to do, or what follows, which the first line leaves out. */
  readonly next?: string;
}

/** A line of a list, and what of it fits the first line. */
interface Line {
  readonly short: string;
  readonly text: string;
}

/** What a reviewer must know of a preview, the gravest first. */
export function toMarkdown(preview: Preview): Written {
  const { ref, contract, stacks } = preview;
  const previewed = stacks.filter(isPreviewed);
  const reasons = [
    ...merged(stacks.flatMap(refusals)),
    ...contractFaults(contract),
    ...merged(previewed.flatMap(failures)),
  ];
  const touched = merged(previewed.flatMap(dataRemarks));
  const lines = [
    `### ${headline(reasons, touched, preview)}`,
    "",
    ...(reasons.length > 0 ? ["**Refused**", "", ...reasons.map(({ text }) => item(text)), ""] : []),
    ...(touched.length > 0 ? ["**Data and its users**", "", ...touched.map(({ text }) => item(text)), ""] : []),
    ...overview(stacks, ref),
    ...contractLines(contract),
    ...chartLines(previewed),
    ...capacityLines(previewed),
    ...previewed.flatMap(changeLines),
    ...unchecked(ref),
  ];
  const whole = `${lines.join("\n").trimEnd()}\n`;
  return { whole, text: cut(whole), reasons: reasons.map(({ text }) => text) };
}

function isPreviewed(stack: StackPreview): stack is PreviewedStack {
  return "changes" in stack;
}

function item(text: string): string {
  return `- ${text}`;
}

/** One line for all stacks of which the same is said. */
function merged(remarks: readonly Remark[]): Line[] {
  const full = ({ text, next }: Remark) => (next === undefined ? text : `${text}. ${next}`);
  return [...new Map(remarks.map((remark) => [full(remark), remark]))].map(([said, { text }]) => {
    const stacks = remarks.filter((one) => full(one) === said).map(({ stack }) => `\`${stack}\``);
    const named = [...new Set(stacks)].join(", ");
    return { short: `${named}: ${text}`, text: `${named}: ${said}` };
  });
}

function headline(reasons: readonly Line[], touched: readonly Line[], { stacks }: Preview): string {
  const [first] = reasons.length > 0 ? reasons : touched;
  const more = (reasons.length > 0 ? reasons : touched).length - 1;
  if (first !== undefined)
    return `${reasons.length > 0 ? "❌" : "⚠️"} ${first.short}${more > 0 ? ` (and ${more} more)` : ""}`;
  const previewed = stacks.filter(isPreviewed);
  const changes = previewed.flatMap((one) => one.changes);
  const charts = new Set(previewed.flatMap((one) => one.charts).map(versions));
  if (changes.length === 0 && charts.size === 0) return "✅ Nothing changes in a running stack";
  const gone = changes.some(({ what }) => what === "replaced" || what === "deleted");
  const objects = gone ? "objects are replaced or deleted" : "nothing is replaced or deleted";
  return `✅ No data is touched, ${objects}${[...charts].map((chart) => `; chart ${chart}`).join("")}`;
}

function versions({ name, before = "absent", after = "absent" }: ChartChange): string {
  return `${code(name)} ${before} → ${after}`;
}

const PROTECTED = /cannot be (deleted|replaced)\s+because it is protected|unable to (replace|delete) resource/;

/** What the config's check, the API server or the engine refuses, and lost data that nobody acknowledged. */
function refusals(stack: StackPreview): Remark[] {
  const say = (text: string, next?: string): Remark => ({
    text,
    stack: stack.stack,
    ...(next !== undefined && { next }),
  });
  if ("isNew" in stack) return [];
  if ("refused" in stack) return [say(oneLine(stack.refused))];
  const lost = losses(stack);
  const isProtected = (urn: string) => stack.faults.some((fault) => fault.urn === urn && PROTECTED.test(fault.message));
  const sayProtected = (title: string, happens: string) =>
    say(
      `${code(title)} owns data, is protected and would be ${happens}`,
      `Keep it; or list its store under \`protection.lifted\` in a change of its own, and deploy that first`,
    );
  return [
    ...stack.faults.flatMap(({ urn, message }) => {
      if (urn === "" && stack.faults.length > 1) return []; // only that there were some
      if (!PROTECTED.test(message)) return [say(reasonOf(message))];
      // Before a replacement, the engine stops without a step.
      return lost.some((one) => one.urn === urn) ? [] : [sayProtected(shortName(urn), "replaced or deleted")];
    }),
    ...lost.flatMap(({ title, what, urn }) => {
      const beside = newName(stack, urn);
      if (isProtected(urn)) return [sayProtected(title, `${what}${beside}`)];
      if (stack.acknowledged.includes(title)) return [];
      return [
        say(
          `${code(title)} owns data and would be ${what}${beside}`,
          `Keep it; or, if its data may go, write into \`Pulumi.${stack.stack}.yaml\`, under \`carbon:platform\`: ` +
            `\`protection: { acknowledged: ["${title}"] }\``,
        ),
      ];
    }),
    ...stack.changes.flatMap((change) =>
      shrunk(change).map(({ field, before, after }) =>
        say(`${code(change.title)}: ${code(field)} from ${value(before)} to ${value(after)}: no volume can shrink`),
      ),
    ),
  ];
}

function losses({ changes }: PreviewedStack): Change[] {
  return changes.filter(({ what, ownsData }) => ownsData && (what === "deleted" || what === "replaced"));
}

/** What may have been meant as a new name. */
function newName({ changes }: PreviewedStack, urn: string): string {
  const lost = changes.find((one) => one.urn === urn);
  if (lost?.what !== "deleted") return "";
  const kind = lost.title.split(" ")[0];
  const made = changes.filter(
    ({ what, title, system }) => what === "created" && title.split(" ")[0] === kind && system === lost.system,
  );
  const [one] = made;
  if (one === undefined || made.length > 1) return "";
  return `; ${code(one.title)} would start empty, for no data moves along`;
}

/** The API server's or the engine's words without those about themselves. */
function reasonOf(message: string): string {
  const [, denied] = message.split(/denied request: /);
  return oneLine(denied ?? message.replace(/^Preview failed: /, "").replace(/^\d+ errors? occurred:\s*\*/, ""));
}

function oneLine(text: string): string {
  const line = text
    .trim()
    .replaceAll(/\s*\n\s*/g, " ")
    .replaceAll("<", "&lt;");
  return line.length > 600 ? `${line.slice(0, 600)}…` : line;
}

/** What fails though the preview passes. */
function failures({ stack, failed, capacity }: PreviewedStack): Remark[] {
  return [...failed, ...capacity.after.faults].map((text) => ({ stack, text: oneLine(text) }));
}

function contractFaults({ before, after, level, broken }: ContractPreview): Line[] {
  if (level !== "major") return [];
  const [old, now] = [versionOf(before), versionOf(after)];
  const least = atLeast(old, level);
  if (isAtLeast(now, least)) return [];
  const named = broken.slice(0, 3).map(({ key, what }) => `${code(key)} ${oneLine(what)}`);
  const more = broken.length > 3 ? `; and ${broken.length - 3} more` : "";
  const short = `Outputs break without a major version: ${named.join("; ")}${more}`;
  const next =
    `Who reads them stops working. Put them back; or raise the contract from ${old} to ${least} ` +
    "(`CONTRACT` in stacks/contract/outputs.ts and the version of both packages)";
  return [{ short, text: `${short}. ${next}` }];
}

/** What happens to stores, though nothing refuses it. */
function dataRemarks(stack: PreviewedStack): Remark[] {
  const say = (text: string): Remark => ({ text, stack: stack.stack });
  const owners = new Set(stack.changes.filter(({ ownsData }) => ownsData).map(({ system }) => system));
  const restarts = restartsOf(stack).filter(({ isStore }) => isStore);
  return [
    ...losses(stack).flatMap(({ title, what }) =>
      stack.acknowledged.includes(title)
        ? [say(`${code(title)} is ${what}, as \`protection.acknowledged\` lets it be`)]
        : [],
    ),
    ...restarts.map(({ workload, system }) => {
      const callers = stack.callers[system] ?? [];
      const users = callers.length === 0 ? "nobody else calls it" : `${callers.join(", ")} lose it for a moment`;
      return say(`${code(workload)} restarts: ${users}`);
    }),
    ...stack.changes.flatMap(({ title, what, system, fields }) => {
      const isCustom = /^(Cluster|Kafka|KafkaNodePool|Elasticsearch) /.test(title);
      const asks = fields.filter(({ field }) => field.startsWith("spec"));
      if (!isCustom || what !== "updated" || asks.length === 0 || !owners.has(system)) return [];
      const callers = stack.callers[system] ?? [];
      return [
        say(
          `${code(title)} changes (${fieldList(asks)}): its operator may restart it, and ${callers.join(", ")} use it`,
        ),
      ];
    }),
  ];
}

interface Restart {
  readonly workload: string;
  readonly system: string;
  readonly isStore: boolean;
}

/** The workloads whose pods are made anew: those that were, and else those that the preview says would be. */
function restartsOf({ changes, rolled }: PreviewedStack): Restart[] {
  const stores = new Set(changes.filter(({ ownsData }) => ownsData).map(({ title }) => title.split(" ")[1]));
  if (rolled !== undefined) {
    return rolled.map(({ workload, system }) => ({ workload, system, isStore: stores.has(workload) }));
  }
  return changes.filter(rolls).map(({ title, system }) => {
    const workload = title.split(" ")[1] ?? "";
    return { workload, system, isStore: stores.has(workload) };
  });
}

function overview(stacks: readonly StackPreview[], ref: string): string[] {
  const rows = stacks.map((stack) => {
    const name = `\`${stack.stack}\``;
    if ("isNew" in stack) return [name, "new: `npm run rehearse` brings it up", "", "", "", ""];
    if ("refused" in stack) return [name, "its config is refused", "", "", "", ""];
    const count = (what: Change["what"]) => {
      const number = stack.changes.filter((change) => change.what === what).length;
      return number === 0 ? "–" : `${number}`;
    };
    const restarts = restartsOf(stack).map(({ workload }) => workload.split("/").at(-1) ?? "");
    const counts = [count("replaced"), count("deleted"), count("updated"), count("created")];
    return [name, ...counts, restarts.length === 0 ? "–" : summed(restarts)];
  });
  const halted = stacks.filter(isPreviewed).some(({ seconds }) => seconds.up === undefined);
  const part = halted ? ", as far as the engine came before it refused (more may change)" : "";
  return [
    `What a running stack of ${code(ref)} would get${part}:`,
    "",
    ...markdownTable(["stack", "replaced", "deleted", "updated", "created", "pods anew"], rows),
    "",
  ];
}

const SUMMED = 6;

function summed(names: readonly string[]): string {
  const more = names.length - SUMMED;
  return more > 1 ? `${names.slice(0, SUMMED).join(", ")} and ${more} more` : names.join(", ");
}

function contractLines({ before, after, level, broken, added }: ContractPreview): string[] {
  if (level === "none") return [];
  const [old, now] = [versionOf(before), versionOf(after)];
  return [
    `**Outputs**: ${level} change, version ${old === now ? `${old} kept` : `${old} → ${now}`}`,
    "",
    ...broken.map(({ key, what }) => item(`${code(key)} ${oneLine(what)}`)),
    ...(added.length > 0 ? [item(`new: ${summed(added.map(code))}`)] : []),
    "",
  ];
}

function chartLines(stacks: readonly PreviewedStack[]): string[] {
  const texts = merged(
    stacks.flatMap(({ stack, charts }) =>
      charts.map((chart) => {
        const { objects = [], notChecked } = chart;
        if (notChecked !== undefined)
          return { stack, text: `${versions(chart)}. Its objects are **not checked**: ${notChecked}` };
        if (objects.length === 0) return { stack, text: `${versions(chart)}. Its objects stay as they are` };
        const list = objects.map(({ title, what, fields }) =>
          fields.length === 0 ? `  - ${code(title)} ${what}` : `  - ${code(title)}: ${fieldList(fields)}`,
        );
        return { stack, text: [`${versions(chart)}, with these objects:`, ...list].join("\n") };
      }),
    ),
  );
  return texts.length === 0 ? [] : ["**Charts**", "", ...texts.map(({ text }) => item(text)), ""];
}

const FIELDS = 4;

function fieldList(fields: readonly Field[]): string {
  const shown = fields
    .slice(0, FIELDS)
    .map(({ field, before, after }) => `${code(field)} ${value(before)} → ${value(after)}`);
  const more = fields.length - shown.length;
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** A JSON value; an absent one is none. */
function value(json: string | undefined): string {
  return json === undefined ? "none" : code(json.replace(/^"([^"\\]*)"$/, "$1"));
}

function capacityLines(stacks: readonly PreviewedStack[]): string[] {
  const rows = stacks.flatMap(({ stack, capacity: { before, after } }) => {
    const old = new Map(quotaUses(before).map((use) => [use.key, use]));
    return quotaUses(after).flatMap((use) => {
      const was = old.get(use.key);
      if (was?.text === use.text) return [];
      return [[`\`${stack}\``, use.key, was?.text ?? "–", use.text, `\`${stripVTControlCharacters(bar(use.share))}\``]];
    });
  });
  if (rows.length === 0) return ["Capacity stays as it is.", ""];
  return [
    "**Capacity** (at most, with every rollout and Job at once)",
    "",
    ...markdownTable(["stack", "of", "before", "after", ""], rows),
    "",
  ];
}

function quotaUses({ quotas }: Capacity): { readonly key: string; readonly text: string; readonly share: number }[] {
  return quotas
    .filter(({ allowed }) => allowed > 0)
    .map(({ quota, resource, most, surge, jobs, allowed }) => {
      const all = most + surge + jobs;
      return {
        key: `${quota}, ${resource}`,
        text: `${written(resource, all)} of ${written(resource, allowed)}`,
        share: all / allowed,
      };
    });
}

const ORDER: readonly Change["what"][] = ["replaced", "deleted", "updated", "created"];

function changeLines({ stack, changes }: PreviewedStack): string[] {
  if (changes.length === 0) return [];
  const systems = [...new Set(changes.map(({ system }) => system))].sort();
  const rows = systems.flatMap((system) =>
    ORDER.flatMap((what) => changes.filter((change) => change.system === system && change.what === what)).flatMap(
      ({ title, what, fields }) => [[system, code(title), what, fieldsCell(title, what, fields)]],
    ),
  );
  return [
    `<details><summary>${stack}: ${changes.length} ${changes.length === 1 ? "change" : "changes"} by system</summary>`,
    "",
    ...markdownTable(["system", "object", "", "fields"], rows),
    "",
    "</details>",
    "",
  ];
}

const CHECKSUM = /annotations(?:\.|\[")checksum\.254carbon\.com\/([^"]+)"\]$/;

function fieldsCell(title: string, what: Change["what"], fields: readonly Field[]): string {
  if (fields.length > 0) return [...new Set(fields.map(fieldCell))].join("<br>");
  return what === "updated" && title.startsWith("Secret ") ? "secret values" : "–";
}

function fieldCell({ field, before, after }: Field): string {
  const [, changed] = CHECKSUM.exec(field) ?? [];
  if (changed !== undefined) return `pods anew, since ${code(changed)} changes`;
  return `${code(field)}: ${value(before)} → ${value(after)}`;
}

function unchecked(ref: string): string[] {
  const lines = [
    `what was changed by hand on the real cluster, and what lies between its last \`up\` and ${code(ref)}: \`npx pulumi preview\` there tells`,
    "data itself: volumes are empty here, and schemas are not migrated",
    "images, probes and Jobs: containers do not run; operators are simulated, and their webhooks are not asked",
    "credentials: each is a stand-in here, so that one that changes does not show",
    "objects of charts that are stand-ins, and pods that only such a chart would make anew",
  ];
  return ["<details><summary>What this cannot check</summary>", "", ...lines.map(item), "", "</details>", ""];
}

function cut(text: string): string {
  if (text.length <= MOST_CHARACTERS) return text;
  const note = "\n\n… cut here: the whole is the artifact `preview` of this run.\n";
  const kept = text.slice(0, MOST_CHARACTERS - note.length - 20);
  const lines = kept.slice(0, kept.lastIndexOf("\n"));
  const isOpen = lines.split("<details>").length > lines.split("</details>").length;
  return `${lines}${isOpen ? "\n\n</details>" : ""}${note}`;
}

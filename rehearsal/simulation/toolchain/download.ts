import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { runGuarded } from "../processes";
import type { Release } from "./releases";

const MIB = 2 ** 20;
// A network that lets nothing through shows within seconds, and a transfer that stands still is given up.
const PATIENCE = ["--connect-timeout", "5", "--speed-limit", "1024", "--speed-time", "15"];

/**
 * Downloads tools into `bin`, all at the same time. Each is compared with its published checksum and appears whole or not
 * at all.
 *
 * @returns why tools are still missing, one line for each cause.
 */
export async function download(
  releases: readonly Release[],
  names: readonly string[],
  bin: string,
  progress: (line: string) => void,
): Promise<string[]> {
  const wanted = releases.filter(({ tools }) => names.some((name) => name in tools));
  if (wanted.length === 0) return [];
  const work = path.join(bin, ".download");
  fs.rmSync(work, { recursive: true, force: true }); // of a run that was killed
  fs.mkdirSync(work);
  progress(`downloading ${names.join(", ")}`);
  const report = setInterval(() => {
    progress(transferred(work));
  }, 5000);
  const refusals = new Map<string, string[]>();
  try {
    await Promise.all(
      wanted.map(async (release) => {
        const here = Object.keys(release.tools).filter((name) => names.includes(name));
        try {
          const size = await fetchRelease(release, here, work, bin);
          progress(`downloaded ${here.join(", ")}: ${mib(size)} MiB, SHA-256 as published`);
        } catch (error) {
          const { message } = error as Error;
          refusals.set(message, [...(refusals.get(message) ?? []), ...here]);
        }
      }),
    );
  } finally {
    clearInterval(report);
    fs.rmSync(work, { recursive: true });
  }
  return [...refusals].map(([why, tools]) => `${tools.join(", ")}: ${why}`);
}

async function fetchRelease(release: Release, names: readonly string[], work: string, bin: string): Promise<number> {
  const { url, checksum, tools } = release;
  const file = path.basename(url);
  const part = path.join(work, `${file}.part`);
  await curl(checksum, `${part}.checksum`, ["--max-time", "15"]);
  const published = publishedChecksum(fs.readFileSync(`${part}.checksum`, "utf8"), file);
  if (published === undefined) throw new Error(`${checksum} has no SHA-256 of ${file}`);
  await curl(url, part, ["--dump-header", `${part}.header`, "--retry", "2", "--retry-all-errors"]);
  const sha256 = crypto.createHash("sha256");
  await pipeline(fs.createReadStream(part), sha256);
  const digest = sha256.digest("hex");
  if (digest !== published) {
    throw new Error(`${url} has SHA-256 ${digest}, but ${checksum} says ${published}; it was thrown away`);
  }
  const { size } = fs.statSync(part);
  for (const name of names) {
    const member = tools[name];
    if (typeof member === "string") {
      const { code, complaints } = await runGuarded(["tar", "-xf", part, "-C", work, member]);
      if (code !== 0) throw new Error(`${url} cannot be unpacked: ${complaints}`);
    }
    const unpacked = typeof member === "string" ? path.join(work, member) : part;
    fs.chmodSync(unpacked, 0o755);
    fs.renameSync(unpacked, path.join(bin, name));
  }
  return size;
}

/** By curl, which takes proxies from its environment: Node's own fetch asks none on Node 20. */
async function curl(url: string, file: string, more: readonly string[]): Promise<void> {
  const quiet = ["--fail", "--location", "--silent", "--show-error"];
  const { code, complaints } = await runGuarded(["curl", ...quiet, ...PATIENCE, ...more, "--output", file, url]);
  if (code === 127) throw new Error("curl is not in PATH");
  // Without the time that it took, one cause is one for all tools.
  const why = complaints
    .split("\n")
    .at(-1)
    ?.replace(/ after \d+ ms/, "");
  if (code !== 0) throw new Error(`${new URL(url).host}: ${why}`);
}

/** The SHA-256 of a file, in any of the forms that {@link Release.checksum} names. */
function publishedChecksum(text: string, file: string): string | undefined {
  if (text.startsWith("{")) {
    const { assets = [] } = JSON.parse(text) as { assets?: readonly { name: string; digest?: string | null }[] };
    return assets.find(({ name }) => name === file)?.digest?.replace("sha256:", "");
  }
  const lines = text.split("\n").map((line) => line.trim().split(/\s+\*?/));
  const [digest] = lines.find(([, name]) => name === undefined || name === file) ?? [];
  return digest !== undefined && /^[0-9a-f]{64}$/.test(digest) ? digest : undefined;
}

/** How much has arrived, and of how much: the sizes that servers announced so far. */
function transferred(work: string): string {
  const files = fs.readdirSync(work);
  const arrived = files.filter((name) => name.endsWith(".part")).map((name) => fs.statSync(path.join(work, name)).size);
  const announced = files
    .filter((name) => name.endsWith(".header"))
    .map(
      (name) => [...fs.readFileSync(path.join(work, name), "utf8").matchAll(/^content-length: (\d+)/gim)].at(-1)?.[1],
    );
  return `downloading: ${mib(sum(arrived))} of ${mib(sum(announced.map(Number)))} MiB`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}

import { ownImage, ownImages } from "../components/base/own-image";
import { mirrored } from "../components/base/pod-settings";
import { stackConfig } from "../rehearsal/program/evaluate";
import { table } from "../rehearsal/simulation/tables";
import { verdict } from "../rehearsal/simulation/colours";
import { command, JSON_OPTION, run, show } from "./cli";
import { digestOf } from "./images/registry";

/** An image built from this repository. */
interface OwnImage {
  readonly name: string;
  readonly directory: string;
  readonly image: string;
}

/** Those of the images that their registry says it does not have. */
export async function missing<Image extends { readonly image: string }>(images: readonly Image[]): Promise<Image[]> {
  const digests = await Promise.all(images.map(({ image }) => digestOf(image)));
  return images.filter((_, index) => digests[index] === undefined);
}

const program = command("images", "Lists the images built from this repository, with the tags that pods use.", [
  "npm run images",
  "npm run --silent images -- --missing --json",
])
  .option("--stack <name>", "name them as that stack's pods do, at its mirrors")
  .option(...JSON_OPTION)
  .option("--missing", "list only those that the registry says it does not have", false)
  .addHelpText(
    "after",
    `
A tag contains the hash of the image's directory, so any change there gives a new tag. The workflow
.github/workflows/images.yaml builds and pushes missing images. --missing uses the logins of
\`docker login\`.

Exit codes: 0 listed, 2 wrong usage, or the registry gives no clear answer.`,
  )
  .action(async (options: { stack?: string; json?: string | true; missing: boolean }) => {
    const mirrors = options.stack === undefined ? {} : stackConfig(options.stack).images.mirrors;
    const all: OwnImage[] = ownImages().map((name) => ({
      name,
      directory: `images/${name}`,
      image: mirrored(ownImage(name), mirrors),
    }));
    const images = options.missing ? await missing(all) : all;
    const rows = images.map(({ directory, image }) => [directory, image]);
    const what = options.missing ? "images are missing" : "images are built from this repository";
    const next = rows.length === 0 ? "" : ". Next: run the workflow images, which pushes what is missing";
    show(
      options.json,
      images,
      [
        ...(rows.length > 0 ? [table(["folder", "image"], rows), ""] : []),
        verdict(!options.missing || rows.length === 0, `${rows.length} ${what}${next}`),
      ].join("\n"),
    );
  });

if (require.main === module) void run(program);

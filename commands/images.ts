import { command, run } from "./cli";
import { ownImage, ownImages } from "../components/base/own-image";
import { table } from "../rehearsal/simulation/tables";

const program = command("images", "Lists the images built from this repository, with the tags that pods use.", [
  "npm run images",
  "npm run --silent images -- --json",
])
  .option("--json", "print JSON", false)
  .addHelpText(
    "after",
    `
A tag contains the hash of the image's directory, so any change there gives a new tag. The workflow
.github/workflows/images.yaml builds and pushes missing images.

Exit codes: 0 listed, 2 wrong usage.`,
  )
  .action(({ json }: { json: boolean }) => {
    const images = ownImages().map((name) => ({ name, directory: `images/${name}`, image: ownImage(name) }));
    if (json) console.log(JSON.stringify(images));
    else
      console.log(
        table(
          ["folder", "image"],
          images.map(({ directory, image }) => [directory, image]),
        ),
      );
  });

void run(program);

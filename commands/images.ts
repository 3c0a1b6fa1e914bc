import { command, run } from "./cli";
import { ownImage, ownImages } from "../components/base/own-image";
import { table } from "../rehearsal/simulation/tables";

const program = command("images", "Lists the images of our own, and the tags under which pods ask for them.", [
  "npm run images",
  "npm run --silent images -- --json",
])
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    `
A tag holds the hash of the image's folder: whoever changes a file there names another image. The workflow
.github/workflows/images.yaml builds and pushes what is not there yet.

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

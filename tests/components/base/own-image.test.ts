import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { ownImage, ownImages, REGISTRY } from "../../../components/base/own-image";
import { images } from "../../../components/base/versions";
import { gpuFaults } from "../../../stacks/config/gpus";
import { temporaryDirectory } from "../../support/temporary";

const IMAGES = path.resolve(__dirname, "../../../images");

describe("an image of ours", () => {
  it("is built under the tag that pods ask for", () => {
    const asked = Object.values(images).filter((image) => image.startsWith(REGISTRY));
    const built = ownImages().map((name) => ownImage(name));
    assert.ok(asked.length > 0, "no Dockerfile was looked for");
    assert.deepEqual(
      asked.filter((image) => !built.includes(image)),
      [],
    );
  });

  it("has another tag when a file of it changes, and the same one anywhere", () => {
    const copy = path.join(temporaryDirectory(), "images");
    fs.cpSync(IMAGES, copy, { recursive: true });
    assert.equal(ownImage("ray", copy), ownImage("ray"));
    fs.appendFileSync(path.join(copy, "ray", "requirements.lock"), "\n");
    assert.notEqual(ownImage("ray", copy), ownImage("ray"));
  });

  it("is of the version of the images that it works with", () => {
    const tags = Object.entries(images).flatMap(([name, image]) =>
      name.startsWith("dolphinscheduler") ? [/:([\d.]+)/.exec(image)?.[1]] : [],
    );
    assert.equal(tags.length, 5);
    assert.deepEqual([...new Set(tags)], [tags[0]], "images/dolphinscheduler-worker/Dockerfile and versions.ts");
  });

  it("says for which CUDA it is, where the cards ask that", () => {
    const workers = { image: ownImage("ray-gpu"), gpusPerWorker: 1, max: 1 };
    assert.deepEqual(
      gpuFaults({ workers, nodes: { "k8s-worker": { gpus: { product: "Tesla-K80", count: 16 } } } }),
      [],
    );
  });

  it("has the same names in its tag, whether its base image is given by digest or not", () => {
    const copy = path.join(temporaryDirectory(), "images");
    fs.cpSync(IMAGES, copy, { recursive: true });
    const file = path.join(copy, "ray", "Dockerfile");
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(/^FROM \S+$/m, `$&@sha256:${"0".repeat(64)}`));
    const names = (image: string) => image.replace(/-[0-9a-f]{12}$/, "");
    assert.equal(names(ownImage("ray", copy)), names(ownImage("ray")));
    assert.notEqual(ownImage("ray", copy), ownImage("ray"));
  });

  it("installs the versions that its requirements name", () => {
    for (const name of ownImages()) {
      const [wanted, lock] = [".in", ".lock"].map((end) => path.join(IMAGES, name, `requirements${end}`)) as [
        string,
        string,
      ];
      if (!fs.existsSync(wanted)) continue;
      const locked = fs.readFileSync(lock, "utf8");
      const pins = fs.readFileSync(wanted, "utf8").matchAll(/^([\w.-]+)(?:\[.*\])?==([\w.]+)$/gm);
      for (const [, software = "", version = ""] of pins)
        assert.match(
          locked,
          new RegExp(`^${software}==${version} `, "m"),
          `${lock} is older than ${wanted}: write it anew`,
        );
    }
  });

  it("installs only what its lock pins with a hash, Ray and MLflow in the versions of the servers", () => {
    const lock = fs.readFileSync(path.join(IMAGES, "ray", "requirements.lock"), "utf8");
    const [, ray] = /:([\d.]+)-py/.exec(images.ray) ?? [];
    const [, mlflow] = /:v([\d.]+)-full$/.exec(images.mlflow) ?? [];
    assert.match(lock, new RegExp(`^ray==${ray} \\\\$`, "m"));
    assert.match(lock, new RegExp(`^mlflow-skinny==${mlflow} \\\\$`, "m"));
    for (const [pin = ""] of lock.matchAll(/^\w.*(?:\n {4}.*)*/gm))
      assert.match(pin, /^[\w-]+==.*\n {4}--hash=sha256:/);
  });
});

import assert from "node:assert/strict";
import { REGISTRY } from "../components/base/own-image";
import { charts, images, manifests } from "../components/base/versions";
import { read, sources } from "./support/sources";

const PROGRAM = sources("components", "stacks");
const VERSIONS = "components/base/versions.ts";

/** `file: line` for every match outside of the files that may. */
function found(pattern: RegExp, files: readonly string[], allowed: readonly string[] = []): string[] {
  return files.flatMap((file) =>
    allowed.includes(file)
      ? []
      : read(file)
          .split("\n")
          .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe("the program", () => {
  it("knows the cluster's domain in one place", () => {
    assert.deepEqual(found(/svc\.cluster|cluster\.local/, PROGRAM, ["stacks/config/cluster.ts"]), []);
  });

  it("names versions of charts, images and manifests in one place", () => {
    const image = /[\w.-]+\/[\w./-]+:v?\d/;
    const version = /["'`@-]v?\d+\.\d+\.\d+(?![\d.])/;
    assert.deepEqual(found(image, PROGRAM, [VERSIONS]), []);
    assert.deepEqual(found(version, PROGRAM, [VERSIONS]), []);
    assert.match(read(VERSIONS), image);
    assert.match(read(VERSIONS), version);
  });

  it("never says latest", () => {
    const all = sources("components", "stacks", "rehearsal", "commands");
    const rules = ["components/ground/admission-policies.ts", "rehearsal/program/pod-rules.ts"];
    assert.deepEqual(found(/:latest\b|["'`]latest["'`]/, all, rules), []);
  });

  it("uses every pin in exactly one component", () => {
    for (const [kind, pins] of Object.entries({ charts, images, manifests })) {
      for (const pin of Object.keys(pins)) {
        const users = new Set(
          found(new RegExp(`\\b${kind}\\.${pin}\\b`), PROGRAM, [VERSIONS]).map((hit) => hit.split(":")[0]),
        );
        // MLflow's migration runs the server's image, in the same file; what is ours may run in several, and so may psql and mc.
        const isShared =
          kind === "images" &&
          (["postgres", "minioClient"].includes(pin) || images[pin as keyof typeof images].startsWith(REGISTRY));
        assert.ok(
          isShared ? users.size > 0 : users.size === 1,
          `${kind}.${pin} is used in ${[...users].join(", ") || "no file"}`,
        );
      }
    }
  });

  it("reads configuration in stacks/config/schema.ts and credentials in stacks/config/secrets.ts", () => {
    const configuration = ["stacks/config/schema.ts", "stacks/config/secrets.ts"];
    assert.deepEqual(found(/new (pulumi\.)?Config\(|getStack\(\)/, PROGRAM, configuration), []);
    assert.deepEqual(found(/(require|get)Secret\(/, PROGRAM, ["stacks/config/secrets.ts"]), []);
    assert.deepEqual(found(/StackReference|process\.env/, PROGRAM), []);
  });

  it("has no branch for an environment", () => {
    assert.deepEqual(found(/["'`](dev|prod|staging)["'`]/, PROGRAM), []);
  });

  it("gives every component the token of its folder and class", () => {
    const components = PROGRAM.flatMap((file) => {
      const text = read(file);
      return [...text.matchAll(/export class (\w+) extends pulumi\.ComponentResource[^]*?super\(\s*"([^"]+)"/g)].map(
        ([, name, token]) => ({ file, name, token }),
      );
    });
    assert.ok(components.length > 10, "no components found: does the pattern still match how they are declared?");
    for (const { file, name, token } of components) {
      const folders = file.split("/");
      const area = folders[0] === "components" ? folders[1] : folders[0];
      assert.equal(token, `carbon:${area ?? ""}:${name ?? ""}`, file);
    }
  });

  it("registers the outputs of every component: without that Pulumi takes it for unfinished", () => {
    for (const file of PROGRAM) {
      const text = read(file);
      const count = (pattern: RegExp) => [...text.matchAll(pattern)].length;
      assert.equal(count(/registerOutputs\(/g), count(/extends pulumi\.ComponentResource/g), file);
    }
  });

  it("starts in at most 15 lines", () => {
    assert.ok(read("index.ts").split("\n").length <= 15, "index.ts only starts the program: move the rest to stacks/");
  });
});

describe("Renovate", () => {
  const { customManagers } = JSON.parse(read("renovate.json")) as {
    customManagers: { datasourceTemplate: string; managerFilePatterns: string[]; matchStrings: string[] }[];
  };
  const matches = (datasource: (name: string) => boolean) =>
    customManagers
      .filter(({ datasourceTemplate }) => datasource(datasourceTemplate))
      .flatMap(({ managerFilePatterns, matchStrings }) => {
        assert.deepEqual(managerFilePatterns, [VERSIONS]);
        return matchStrings.flatMap((pattern) => [...read(VERSIONS).matchAll(new RegExp(pattern, "g"))]);
      })
      .map(({ groups }) => groups ?? {});

  it("finds every chart, in its repository and version", () => {
    const expected = Object.values(charts).map(({ repo, chart, version }) => {
      const oci = /^oci:\/\/(.*)$/.exec(repo)?.[1];
      return oci === undefined
        ? { registryUrl: repo, depName: chart, currentValue: version }
        : { registry: oci, chart, currentValue: version };
    });
    const actual = [
      ...matches((name) => name === "helm"),
      ...matches((name) => name === "docker").filter((groups) => "chart" in groups),
    ];
    assert.deepEqual(sorted(actual), sorted(expected));
  });

  it("finds every image", () => {
    const actual = matches((name) => name === "docker").filter((groups) => !("chart" in groups));
    assert.deepEqual(
      actual.map(({ depName, currentValue }) => `${depName ?? ""}:${currentValue ?? ""}`).sort(),
      Object.values(images)
        .filter((image) => !image.startsWith(REGISTRY))
        .sort(),
    );
  });

  it("finds every manifest file", () => {
    assert.deepEqual(
      sorted(matches((name) => name === "github-releases")),
      sorted(
        Object.values(manifests).map(({ repository, version }) => ({ depName: repository, currentValue: version })),
      ),
    );
  });
});

function sorted(groups: readonly Readonly<Record<string, string>>[]): string[] {
  return groups.map((group) => JSON.stringify(Object.entries(group).sort())).sort();
}

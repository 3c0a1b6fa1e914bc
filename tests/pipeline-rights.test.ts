import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { loadAllYaml, type V1ClusterRole, type V1ClusterRoleBinding } from "@kubernetes/client-node";
import { expectedOf } from "../commands/verify/expected";
import { resourcesOf } from "../commands/verify/rights";
import { ROOT } from "../rehearsal/program/evaluate";
import { program, SHAPES } from "./support/program";

const FILE = "docs/pipeline-rights.yaml";
const objects = loadAllYaml(fs.readFileSync(path.join(ROOT, FILE), "utf8")) as (V1ClusterRole & V1ClusterRoleBinding)[];

/** What writes them could take away the policy that limits it, or gain rights that it does not have. */
const POWERFUL = /^(validatingadmissionpolic|clusterrole|role)/;

/** What is made besides the program's objects and what it declares about charts. */
const OF_CHARTS = [
  " persistentvolumeclaims", // whose labels the program patches: as it is there or not, that is a create
  "apps daemonsets",
  "apiregistration.k8s.io apiservices", // metrics-server
  "monitoring.coreos.com alertmanagers", // kube-prometheus-stack
  "monitoring.coreos.com prometheuses",
  "nfd.k8s-sigs.io nodefeaturerules", // the GPU operator
  "nvidia.com clusterpolicies",
];

/** What an account may do: `group resource` to verbs. */
function rightsOf(account: string): Map<string, Set<string>> {
  const bound = objects.filter(
    ({ kind, subjects = [] }) => kind === "ClusterRoleBinding" && subjects.some(({ name }) => name === account),
  );
  const roles = bound.map(({ roleRef }) => roleRef.name);
  const rights = new Map<string, Set<string>>();
  for (const { kind, metadata, rules = [] } of objects) {
    if (kind !== "ClusterRole" || !roles.includes(metadata?.name ?? "")) continue;
    for (const { apiGroups = [], resources = [], verbs } of rules) {
      for (const one of apiGroups.flatMap((group) => resources.map((resource) => `${group} ${resource}`))) {
        rights.set(one, new Set([...(rights.get(one) ?? []), ...verbs]));
      }
    }
  }
  return rights;
}

describe(FILE, () => {
  let kinds: Set<string>;
  before(async () => {
    kinds = new Set(OF_CHARTS);
    for (const shape of SHAPES) {
      const written = resourcesOf(expectedOf(shape, await program(shape)));
      for (const { group, resource } of written) kinds.add(`${group} ${resource}`);
    }
  });

  const lacking = (account: string, verbs: readonly string[], which: (kind: string) => boolean) => {
    const rights = rightsOf(account);
    return [...kinds]
      .filter((kind) => which(kind.split(" ")[1] ?? ""))
      .flatMap((kind) => verbs.filter((verb) => rights.get(kind)?.has(verb) !== true).map((verb) => `${verb} ${kind}`));
  };

  it("lets a deployment write every kind that the program and its charts make", () => {
    const verbs = ["get", "list", "watch", "create", "patch"];
    assert.deepEqual(
      lacking("deploy", verbs, () => true),
      [],
      `add them to ${FILE}`,
    );
    // A claim has the data of a store.
    assert.deepEqual(
      lacking("deploy", ["delete"], () => true),
      ["delete  persistentvolumeclaims"],
    );
  });

  it("lets a preview ask about every kind but policies and roles, and of those see what is there", () => {
    const isOrdinary = (resource: string) => !POWERFUL.test(resource);
    assert.deepEqual(lacking("preview", ["get", "list", "watch", "create", "patch"], isOrdinary), []);
    assert.deepEqual(
      lacking("preview", ["get", "list", "watch"], (resource) => !isOrdinary(resource)),
      [],
    );
  });

  it("lets a preview delete nothing, run nothing in pods, and neither weaken policies nor widen rights", () => {
    const rights = [...rightsOf("preview")];
    const writes = rights.flatMap(([kind, verbs]) =>
      [...verbs].filter((verb) => !["get", "list", "watch"].includes(verb)).map((verb) => `${verb} ${kind}`),
    );
    assert.deepEqual(
      writes.filter(
        (one) => !/^(create|patch) /.test(one) || one.includes("/") || POWERFUL.test(one.split(" ")[2] ?? ""),
      ),
      [],
    );
  });

  it("grants no write of a kind that nobody makes", () => {
    const writes = [...rightsOf("deploy")].filter(([, verbs]) => verbs.has("create")).map(([kind]) => kind);
    assert.deepEqual(
      writes.filter((kind) => !kinds.has(kind)),
      [],
    );
    assert.ok(
      [...rightsOf("deploy")].every(([kind, verbs]) => !kind.includes("*") && !verbs.has("*")),
      "a right is no wildcard",
    );
  });
});

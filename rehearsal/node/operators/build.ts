import * as fs from "node:fs";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import type { Manifest } from "../../operators/operator";
import { ensureTools, pinned, type ToolSet } from "../../simulation/toolchain";
import { moduleFolder } from "../../simulation/toolchain/build";

const DIRECTORY = __dirname;
const STRIP = "-s -w";

const MODULES = {
  "prometheus-operator": "github.com/prometheus-operator/prometheus-operator",
  cnpg: "github.com/cloudnative-pg/cloudnative-pg",
  eck: "github.com/elastic/cloud-on-k8s/v3",
} as const;

/** An operator that is built from its module. */
export type OperatorName = keyof typeof MODULES;

/** All of them. */
export const operatorNames = Object.keys(MODULES) as readonly OperatorName[];

/** The version that is built. */
export const built = (name: OperatorName): string => pinned(MODULES[name], DIRECTORY);

const OPERATORS: ToolSet = {
  owner: "the operators' tests",
  directory: DIRECTORY,
  // Seconds on two cores, one after the other.
  tools: [
    {
      name: "prometheus-operator",
      package: `${MODULES["prometheus-operator"]}/cmd/operator`,
      ldflags: STRIP,
      seconds: 210,
    },
    {
      name: "prometheus-config-reloader",
      package: `${MODULES["prometheus-operator"]}/cmd/prometheus-config-reloader`,
      ldflags: STRIP,
      seconds: 20,
    },
    { name: "cnpg", package: `${MODULES.cnpg}/cmd/manager`, ldflags: STRIP, seconds: 60 },
    {
      name: "eck",
      package: `${MODULES.eck}/cmd`,
      ldflags: `${STRIP} -X ${MODULES.eck}/pkg/about.version=${built("eck").slice(1)}`,
      seconds: 60,
    },
  ],
};

/** The directory of all of them. */
export function ensureOperators(progress: (line: string) => void): Promise<string> {
  return ensureTools(OPERATORS, progress);
}

/** How CloudNativePG registers its webhooks, by its module, whose names and Service lack what an installation puts before them. */
export async function cnpgWebhooks(bin: string): Promise<WebhookConfiguration[]> {
  const folder = await moduleFolder(bin, DIRECTORY, MODULES.cnpg, "config/webhook");
  const documents = parseAllDocuments(fs.readFileSync(path.join(folder, "manifests.yaml"), "utf8"));
  return documents.map((document) => document.toJS() as WebhookConfiguration);
}

/** A Mutating- or ValidatingWebhookConfiguration. */
export interface WebhookConfiguration extends Manifest {
  readonly webhooks: readonly { readonly clientConfig: { readonly service: object } }[];
}

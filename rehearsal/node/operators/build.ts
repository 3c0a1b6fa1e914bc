import { ensureTools, pinned, type ToolSet } from "../../simulation/toolchain";

const DIRECTORY = __dirname;
const STRIP = "-s -w";

const MODULES = {
  "cert-manager": "github.com/cert-manager/cert-manager",
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
    { name: "cert-manager", package: "./cert-manager", ldflags: STRIP, seconds: 240 },
    {
      name: "prometheus-operator",
      package: `${MODULES["prometheus-operator"]}/cmd/operator`,
      ldflags: STRIP,
      seconds: 90,
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

import type { OperatorName } from "./operators";

/** Where a real operator and its simulation may differ, and why. */
export interface Difference {
  readonly what: RegExp;
  readonly why: string;
}

const CONFIGURATION = "only the server reads it, and none runs";

/** What remains different; all else that an operator makes is simulated as it is. */
export const DIFFERENCES: Readonly<Record<OperatorName, readonly Difference[]>> = {
  "cert-manager": [{ what: /^CertificateRequest /, why: "a step on the way to the Secret: nobody else reads it" }],
  cnpg: [
    {
      what: /^(StatefulSet postgres|PersistentVolumeClaim (pgdata-)?postgres-1|Pod postgres-1 volume pgdata): /,
      why: "KWOK cannot make pods of a list: a StatefulSet does, and names the claims",
    },
    {
      what: /^(Job postgres-1-initdb|Pod postgres-1-initdb-\*): /,
      why: "it has gone before the instance comes: the two never count together",
    },
    {
      what: /^Pod postgres-1 label (cnpg\.io\/instanceRole|role): none, /,
      why: "given to an instance that answers over HTTP, and no simulated one does",
    },
    { what: /^(Role|RoleBinding) postgres: /, why: "the instance's own, and none runs" },
  ],
  "envoy-gateway": [
    { what: /^Secret envoy/, why: "the chart's hook makes them, and no chart is installed here" },
    { what: /^ConfigMap envoy/, why: CONFIGURATION },
  ],
  eck: [
    { what: /^ConfigMap elastic/, why: CONFIGURATION },
    {
      what: /^Secret elasticsearch-es-(default-es|file-settings|http-c\w+-internal|internal-users|remote-ca|transport|xpack)\S*: /,
      why: CONFIGURATION,
    },
    {
      what: /^Pod \S+ volume (downward-api|file-settings|elastic-internal-(?!elasticsearch-\w+-local)\S+): /,
      why: CONFIGURATION,
    },
    {
      what: /^StatefulSet \S+ update: OnDelete/,
      why: "the operator deletes pods one by one: here the StatefulSet's controller does",
    },
    {
      what: /^StatefulSet \S+ retention: /,
      why: "the operator deletes claims of removed nodes: here the StatefulSet's controller does",
    },
  ],
  "prometheus-operator": [
    { what: /^(Secret|ConfigMap) \S+: /, why: CONFIGURATION },
    { what: /^Pod \S+ volume .*: (secret|configMap|projected), /, why: CONFIGURATION },
    {
      what: /^Pod \S+ (container|init) (init-)?config-reloader: /,
      why: "its size stands on the operator's command line, which a Stage does not see",
    },
  ],
};

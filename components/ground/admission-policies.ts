import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { PodSecurityLevel } from "../base/pod";

/** Inputs of {@link AdmissionPolicies}. */
export interface AdmissionPoliciesArgs {
  /** The namespaces whose pods are checked, and the Pod Security level of each. */
  readonly namespaces: Readonly<Record<string, PodSecurityLevel>>;
  /** Where images may come from, such as `quay.io` or `ghcr.io/254carbon`. @default anywhere */
  readonly registries?: readonly string[] | undefined;
  /** Those of the namespaces in which others make Services. @default none */
  readonly tenants?: readonly string[];
}

/**
 * What the API server refuses of pods and of tenants' Services, whoever makes them: operators, charts or people. It holds also where
 * somebody lowers a namespace's Pod Security level.
 */
export class AdmissionPolicies extends pulumi.ComponentResource {
  constructor(name: string, args: AdmissionPoliciesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ground:AdmissionPolicies", name, {}, opts);
    const { namespaces, registries, tenants = [] } = args;
    const privileged = Object.keys(namespaces).filter((one) => namespaces[one] === "privileged");
    const rules = {
      "exact-images": EXACT_IMAGES,
      ...(registries && { "known-registries": knownRegistries(registries) }),
      "sized-containers": SIZED_CONTAINERS,
      "unprivileged-pods": unprivilegedPods(privileged),
      "no-literal-credentials": NO_LITERAL_CREDENTIALS,
    };
    for (const [role, rule] of Object.entries<Rule>(rules)) {
      const checked = Object.keys(namespaces).filter((one) => !rule.except?.includes(one));
      const resource = rule === SIZED_CONTAINERS ? NEW_PODS : PODS;
      refuse(this, `${name}-${role}`, { rule, namespaces: checked, resource });
    }
    if (tenants.length > 0) {
      refuse(this, `${name}-own-addresses`, { rule: OWN_ADDRESSES, namespaces: tenants, resource: SERVICES });
    }
    this.registerOutputs();
  }
}

/**
 * What must not be, in the Common Expression Language: `variables.containers` are those of the pod, the initial ones too, or those
 * that are put into one that runs.
 */
interface Rule {
  /** A list of texts, one for each fault. */
  readonly faults: string;
  /** What to do about them. */
  readonly advice: string;
  /** Namespaces that are not checked. */
  readonly except?: readonly string[];
}

const EXACT_IMAGES: Rule = {
  faults: containersWhere(
    "!c.image.matches('(:[^:/@]+|@sha256:[0-9a-f]{64})$') || c.image.matches(':latest(@|$)')",
    "' runs ' + c.image",
  ),
  advice: "name an exact version of the image, or a digest",
};

function knownRegistries(registries: readonly string[]): Rule {
  // Without a host, an image comes from Docker Hub: from its folder `library` if it has no folder.
  const full = [
    "(c.image.matches('^(localhost|[^/]*[.:][^/]*)/') ? c.image",
    ": c.image.contains('/') ? 'docker.io/' + c.image : 'docker.io/library/' + c.image)",
  ].join(" ");
  return {
    faults: containersWhere(
      `!${JSON.stringify(registries)}.exists(r, ${full}.startsWith(r + '/'))`,
      "' runs ' + c.image",
    ),
    advice: `take the image from ${registries.join(", ")}, or add its registry to images.registries`,
  };
}

const SIZED_CONTAINERS: Rule = {
  faults: containersWhere(
    "['cpu', 'memory'].exists(r, !(r in c.?resources.?requests.orValue({})) || !(r in c.?resources.?limits.orValue({})))",
    "' has no size'",
  ),
  advice: "set requests and limits of cpu and memory",
  // The GPU operator has no values for the containers that check drivers before each of its pods starts.
  except: ["gpu-operator"],
};

function unprivilegedPods(privileged: readonly string[]): Rule {
  const shared = ["hostNetwork", "hostPID", "hostIPC"].map(
    (one) => `(object.spec.?${one}.orValue(false) ? ['${one}'] : [])`,
  );
  const hostPaths = "object.spec.?volumes.orValue([]).filter(v, has(v.hostPath)).map(v, 'hostPath ' + v.name)";
  const containers = containersWhere("c.?securityContext.?privileged.orValue(false)", "' is privileged'");
  return {
    faults: [...shared, hostPaths, containers].join(" + "),
    advice: `only pods in ${privileged.join(", ")} may use their node: take it out, or run the pod there`,
    except: privileged,
  };
}

// Of a trust store, which holds nothing secret; and the name of a Secret, for ECK.
const NO_CREDENTIAL = "TRUSTSTORE_PASSWORD$|^WEBHOOK_SECRET$";
const CREDENTIAL = "(?i)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(ACCESS|API|ENCRYPTION|PRIVATE|SECRET|SIGNING)_?KEY)$";
const LOGIN_IN_URL = "://[^:/@]*:[^/@$]+@";
// A reference to another variable, such as $(PASSWORD), is none.
const literals = [
  "c.?env.orValue([]).filter(e, e.?value.orValue('') != '' && !e.value.startsWith('$(')",
  `&& !e.name.matches('${NO_CREDENTIAL}')`,
  `&& (e.name.matches('${CREDENTIAL}') || e.value.matches('${LOGIN_IN_URL}')))`,
].join(" ");

const NO_LITERAL_CREDENTIALS: Rule = {
  faults: containersWhere(`size(${literals}) > 0`, `' sets ' + ${literals}.map(e, e.name).join(' and ')`),
  advice: "a credential is no literal: put it in a Secret and name that in valueFrom or envFrom",
};

// A Service with the address of another takes over what is sent there, in the whole cluster (CVE-2020-8554).
const OWN_ADDRESSES: Rule = {
  faults: "object.spec.?externalIPs.orValue([]).map(one, 'external IP ' + one)",
  advice: "a Service has the address that the cluster gives it: take it out",
};

/** The names of the containers `c` of which something is true, each with what is said of it. */
function containersWhere(condition: string, said: string): string {
  return `variables.containers.filter(c, ${condition}).map(c, c.name + ${said})`;
}

/** Of which kind of object a rule speaks, and what it reads of one. */
interface Checked {
  readonly resources: readonly string[];
  readonly variables: readonly { readonly name: string; readonly expression: string }[];
}

const PODS: Checked = {
  // A rule for pods alone never sees a container that `kubectl debug` puts into one (kubernetes/website#55447).
  resources: ["pods", "pods/ephemeralcontainers"],
  variables: [
    {
      name: "containers",
      // Who looks into a pod is not told of the faults that it had before.
      expression: [
        "request.?subResource.orValue('') == 'ephemeralcontainers' ? dyn(object.spec.ephemeralContainers)",
        ": dyn(object.spec.containers + object.spec.?initContainers.orValue([]))",
      ].join(" "),
    },
  ],
};
// Kubernetes lets no other container have a size than those with which a pod begins.
const NEW_PODS: Checked = { ...PODS, resources: ["pods"] };
const SERVICES: Checked = { resources: ["services"], variables: [] };

interface Refusal {
  readonly rule: Rule;
  readonly namespaces: readonly string[];
  readonly resource: Checked;
}

function refuse(parent: pulumi.Resource, name: string, { rule, namespaces, resource }: Refusal): void {
  const made = new k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
    name,
    {
      metadata: { name },
      spec: {
        matchConstraints: {
          resourceRules: [
            {
              apiGroups: [""],
              apiVersions: ["v1"],
              operations: ["CREATE", "UPDATE"],
              resources: [...resource.resources],
            },
          ],
        },
        // What was there before may still lose its finalizers.
        matchConditions: [
          { name: "spec-is-new", expression: "request.operation == 'CREATE' || object.spec != oldObject.spec" },
        ],
        variables: [...resource.variables, { name: "faults", expression: rule.faults }],
        validations: [
          {
            expression: "size(variables.faults) == 0",
            messageExpression: `variables.faults.join(', ') + ${JSON.stringify(`: ${rule.advice}`)}`,
          },
        ],
      },
    },
    { parent },
  );
  new k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
    name,
    {
      metadata: { name },
      spec: {
        policyName: made.metadata.name,
        validationActions: ["Deny"],
        matchResources: {
          namespaceSelector: {
            matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "In", values: [...namespaces] }],
          },
        },
      },
    },
    { parent },
  );
}

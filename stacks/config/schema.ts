import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { Cluster, Quota } from "./cluster";
import { Mail, mailFaults } from "./mail";
import { needFaults } from "./needs";
import { Images } from "./images";
import { addOn, kubernetesName, Size, size } from "./shapes";
import { placementFaults, Placements } from "./placement";
import { backupFaults } from "./backups";
import { Egress, egressFaults } from "./egress";
import { rayGpuFaults } from "./gpus";
import { serveFaults } from "./serving";
import { signOnFaults, SingleSignOn } from "./sign-on";
import { tenantFaults, Tenants } from "./tenants";
import { type PartOf, partsOf, SECRET_KEYS, type SecretName } from "./systems";
import { workflowFaults } from "./workflows";

/** The systems that own data, as `protection.lifted` names them. */
export const DATA_OWNERS = [
  "postgres",
  "object-store",
  "redis",
  "kafka",
  "elasticsearch",
  "neo4j",
  "notebooks",
] as const;
export type DataOwner = (typeof DATA_OWNERS)[number];

// A system that is left out is not deployed.
const Systems = Object.fromEntries(partsOf("config").map(([name, config]) => [name, config.optional()])) as {
  [Name in keyof PartOf<"config">]: z.ZodOptional<PartOf<"config">[Name]>;
};

/** The configuration of a stack: every difference between environments, under the key `carbon:platform`. */
export const PlatformConfig = z
  .strictObject({
    domain: z
      .string()
      .regex(/^[a-z0-9.-]+$/, "expected a DNS name")
      .meta({ description: "DNS zone of all public host names" }),
    cluster: Cluster,
    charts: z
      .strictObject({ directory: z.string().min(1) })
      .meta({ description: "Directory of the pinned charts, filled by `npm run charts:pull`" }),
    storage: z.strictObject({
      provisioner: z.enum(["existing", "local-path"]).meta({
        description:
          "Who makes volumes: `existing` is what the cluster has; `local-path` is installed, and its volumes are directories of a node (docs/volumes.md)",
      }),
      className: kubernetesName.meta({
        description: "StorageClass of volumes that name none; its reclaim policy must be Retain",
        lasting: "fixed",
      }),
      directory: z
        .string()
        .regex(/^(\/[\w.-]+)+$/, "expected an absolute path such as /data/volumes")
        .default("/opt/local-path-provisioner")
        .meta({ description: "With local-path: directory of each node in which volumes are made" }),
    }),
    images: Images.prefault({}),
    placement: Placements,
    quota: Quota,
    protection: z
      .strictObject({
        lifted: z
          .array(z.enum(DATA_OWNERS))
          .default([])
          .meta({ description: "Systems that own data and may still be deleted or replaced" }),
        acknowledged: z
          .array(
            z.string().regex(/^\S+ \S+$/, 'expected kind and name, such as "Database data-platform/postgres-mlflow"'),
          )
          .default([])
          .meta({
            description:
              "Objects with data that a pull request may delete or replace, by kind, namespace and name; only its preview asks (docs/pull-requests.md)",
          }),
      })
      .prefault({})
      .meta({ description: "What keeps data from being deleted" }),
    certManager: addOn(Size).meta({
      description:
        "Each pod of cert-manager; or `existing` where the cluster has one: nothing is installed, and its version and CRDs are checked",
    }),
    metricsServer: z
      .strictObject({
        ...size,
        kubeletCertificates: z.enum(["signed", "self-signed"]).default("signed").meta({
          description:
            "Who signed the kubelets' serving certificates: kubeadm leaves them self-signed, so that none verifies them",
        }),
      })
      .optional()
      .meta({ description: "What autoscalers and `kubectl top` ask; left out where the cluster has one" }),
    gpuOperator: z
      .strictObject({
        operator: Size,
        agent: Size.meta({ description: "Each of four agents on a node with GPUs" }),
        discovery: Size.meta({ description: "Each pod of Node Feature Discovery; one runs on every node" }),
      })
      .optional()
      .meta({
        description:
          "NVIDIA's operator, which makes GPUs schedulable; the driver must be on the hosts (docs/gpus.md). Left out where the cluster has one",
      }),
    legacyNames: z.boolean().default(false).meta({
      description: "Whether services are also reachable under their old names, such as kafka-service",
    }),
    ...Systems,
    tenants: Tenants,
    singleSignOn: SingleSignOn.optional().meta({
      description: "How people log in at an identity provider; left out where each system has passwords of its own",
    }),
    mail: Mail.optional().meta({
      description:
        "Who sends mail: Superset's reports, Grafana's invitations, and alerts where `monitoring.paging` says so",
    }),
    egress: Egress.optional().meta({
      description: "How pods reach servers outside; left out where they do directly, and trust public authorities",
    }),
    secrets: z
      .strictObject({ required: z.array(z.enum(Object.keys(SECRET_KEYS) as SecretName[])).default([]) })
      .default({ required: [] })
      .meta({ description: "Credentials that are never generated: `up` stops until they are set" }),
  })
  .superRefine((config, context) => {
    for (const { key, message } of needFaults(config)) context.addIssue({ code: "custom", path: [key], message });
    for (const { path, message } of backupFaults(config)) {
      context.addIssue({ code: "custom", path: ["postgres", ...path], message });
    }
    for (const { path, message } of [
      ...placementFaults(config),
      ...signOnFaults(config),
      ...mailFaults(config),
      ...egressFaults(config),
      ...tenantFaults(config),
      ...workflowFaults(config),
    ]) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
    const { ray, serve, cluster } = config;
    if (ray?.faultTolerance && config.redis === undefined) {
      const message = "needs redis, which is not configured; configure redis, or remove it";
      context.addIssue({ code: "custom", path: ["ray", "faultTolerance"], message });
    }
    if (ray && serve) {
      for (const { path, message } of serveFaults(ray, serve)) {
        context.addIssue({ code: "custom", path: [...path], message });
      }
    }
    for (const { path, message } of ray ? rayGpuFaults(ray, cluster.nodes) : []) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });
export type PlatformConfig = z.output<typeof PlatformConfig>;

/** Loads the configuration of the current stack. Throws one RunError that lists every fault. */
export function loadConfig(): PlatformConfig {
  return parseConfig(new pulumi.Config().getObject("platform"), `Pulumi.${pulumi.getStack()}.yaml`);
}

/** Parses the value of `carbon:platform`; error messages name `file`. */
export function parseConfig(value: unknown, file: string): PlatformConfig {
  const parsed = PlatformConfig.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.flatMap((issue) => faultsOf(issue, file)).map((fault) => `\n  ${fault}`);
  throw new pulumi.RunError(`${file}, carbon:platform has ${faults.length} fault(s):${faults.join("")}`);
}

/** One line per fault: the key, its value, what is allowed and what to do. */
function faultsOf(issue: z.core.$ZodIssue, file: string): string[] {
  const key = issue.path.join(".") || "carbon:platform";
  const expected = issue.message.replace(/^[^:]*: /, "").replace(/, received .*/, "");
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map(
        (unknown) =>
          `${[...issue.path, unknown].join(".")}: unknown key; docs/schema/stack-config.json lists what is allowed; ` +
          `remove it or correct its name in ${file}`,
      );
    case "custom":
      return [`${key}: ${issue.message} in ${file}`];
    case "invalid_key":
      return [`${key}: this name is not allowed: ${issue.issues[0]?.message ?? expected}; correct it in ${file}`];
    case "invalid_union": {
      // Without a kind: faults inside an object are those of its keys.
      const inner = issue.errors.at(-1) ?? [];
      if (inner.some(({ code, path }) => path.length > 0 || code === "unrecognized_keys")) {
        return inner.flatMap((one) => faultsOf({ ...one, path: [...issue.path, ...one.path] }, file));
      }
      if (issue.discriminator === undefined) return [valueFault(issue, key, expected, file)];
      const given = show((issue.input as Record<string, unknown>)[issue.discriminator ?? ""]);
      return [
        `${key}: ${given} is not allowed: ${expected.replace(/^.* Expected/, "expected")}; correct it in ${file}`,
      ];
    }
    default:
      return [valueFault(issue, key, expected, file)];
  }
}

function valueFault({ input }: z.core.$ZodIssue, key: string, expected: string, file: string): string {
  if (input === undefined) return `${key}: missing: ${expected}; add it to ${file}`;
  return `${key}: ${show(input)} is not allowed: ${expected}; correct it in ${file}`;
}

function show(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

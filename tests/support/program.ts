import type * as pulumi from "@pulumi/pulumi";
import { canary, STACKS, stackConfig } from "../../rehearsal/program/evaluate";
import { type Registration, startMockEngine } from "../../rehearsal/program/mock-engine";
import type { PlatformConfig } from "../../stacks/config/schema";
import { wantedCredentials } from "../../stacks/config/secrets";
import { partsOf } from "../../stacks/config/systems";
import { platform } from "../../stacks/platform";
import { makeChartDirectory } from "./chart-directory";
import type { FullConfig, StackConfig } from "./full";
import { type Registered, registered, settled, valueOf } from "./mocks";
import { TENANTS } from "./tenants";

/** What the whole program registers and hands out. */
export interface Program<Config = FullConfig> {
  readonly config: Config;
  readonly seen: readonly Registered[];
  /** The same as commands have it, with secrets marked. */
  readonly registrations: readonly Registration[];
  readonly outputs: unknown;
}

const directory = makeChartDirectory();

const configs = new Map<string, StackConfig>();

/** The parsed config of a stack, which describes every system. */
export function configOf(stack: string): StackConfig {
  const known = configs.get(stack) ?? (stackConfig(stack, directory) as StackConfig);
  configs.set(stack, known);
  return known;
}

// Each takes 4 MB.
const programs = new Map<string, Promise<Program<PlatformConfig>>>();

/**
 * Runs the program under mocks, once for all tests that only look at it. `secrets` are the credentials that somebody set, by
 * their key without `carbon:`; those that nobody can generate get a canary.
 */
export function run<Config extends PlatformConfig>(
  config: Config,
  secrets: Record<string, string> = {},
): Promise<Program<Config>> {
  const key = JSON.stringify([config, secrets]);
  const known = programs.get(key) ?? runAnew(config, secrets);
  programs.set(key, known);
  return known as Promise<Program<Config>>;
}

/** As {@link run}, whoever has run the same. */
export async function runAnew<Config extends PlatformConfig>(
  config: Config,
  secrets: Record<string, string> = {},
): Promise<Program<Config>> {
  const wanted = Object.fromEntries(wantedCredentials(config).map((key) => [key, canary(key)]));
  const set = Object.fromEntries(
    Object.entries({ ...wanted, ...secrets }).map(([key, value]) => [`carbon:${key}`, value]),
  );
  const registrations: Registration[] = [];
  await startMockEngine({ stack: "test", config: set, onRegistration: (one) => registrations.push(one) });
  const outputs: unknown = await valueOf(platform(config) as pulumi.Input<unknown>);
  await settled();
  return { config, seen: registrations.map(registered), registrations, outputs };
}

const size = (cpu: number, memoryMiB: number) => ({
  cpu: { request: cpu / 2, limit: cpu },
  memoryMiB: { request: memoryMiB / 2, limit: memoryMiB },
});

/** The stacks whose files have every system. */
export const WHOLE_STACKS = STACKS.filter((stack) => {
  const config: Record<string, unknown> = stackConfig(stack);
  return partsOf("config").every(([system]) => config[system] !== undefined);
});

/** Every shape in which the whole program is deployed: each stack with every system, and what none of them has. */
const CONFIGS: Readonly<Record<string, () => FullConfig>> = {
  ...Object.fromEntries(WHOLE_STACKS.map((stack) => [stack, () => configOf(stack)])),
  "prod with SeaweedFS": () => ({
    ...configOf("prod"),
    storage: { ...configOf("prod").storage, provisioner: "local-path" },
    objectStore: {
      kind: "seaweedfs",
      region: "us-east-1",
      master: { ...size(0.5, 512), volume: { sizeGiB: 1 } },
      volume: { ...size(1, 2048), volume: { sizeGiB: 50 } },
      filer: { ...size(1, 1024), volume: { sizeGiB: 5 } },
      s3: size(1, 1024),
      setup: size(0.5, 256),
    },
    ray: {
      ...configOf("prod").ray,
      faultTolerance: true,
      packageIndex: { url: "https://pypi.example.com/simple", cidrs: ["203.0.113.0/24"] },
    },
    tenants: TENANTS,
  }),
  "prod with Ray by KubeRay and S3 from elsewhere": () => ({
    ...configOf("prod"),
    objectStore: {
      kind: "external",
      url: "https://s3.example.com",
      cidrs: ["203.0.113.0/24"],
      region: "eu-central-1",
      setup: { cpu: { request: 0.1, limit: 0.5 }, memoryMiB: { request: 64, limit: 256 } },
    },
    ray: {
      mode: "kuberay",
      faultTolerance: true,
      packageIndex: { url: "https://pypi.example.com/simple", cidrs: ["203.0.113.0/24"] },
      head: size(2, 8192),
      workers: { ...size(2, 8192), min: 2, max: 5 },
      gpuWorkers: {
        ...size(4, 16384),
        image: "ghcr.io/254carbon/ray-gpu:2.60.0-py311-cu117",
        gpusPerWorker: 2,
        min: 1,
        max: 4,
      },
      workerGroups: {
        large: {
          ...size(4, 16384),
          min: 0,
          max: 1,
          nodeSelector: { "node-role.kubernetes.io/control-plane": "" },
          tolerations: [{ key: "example.com/dedicated", value: "large", effect: "NoSchedule" }],
        },
      },
      publicDashboard: true,
      // Somebody whose pods there are.
      access: {
        pods: {
          sql: { namespace: "data-platform", labels: { "cnpg.io/cluster": "postgres" }, serviceAccount: "postgres" },
        },
        groups: ["ml"],
      },
      serving: {
        head: size(2, 4096),
        workers: { ...size(2, 8192), min: 1, max: 4 },
        workerGroups: {
          vision: {
            ...size(2, 8192),
            image: "ghcr.io/254carbon/ray-gpu:2.60.0-py311-cu117",
            gpusPerWorker: 1,
            min: 0,
            max: 2,
            nodeSelector: {},
            tolerations: [],
          },
        },
      },
      autoscaler: size(0.5, 1024),
      operator: size(0.5, 512),
    },
    gateway: {
      ...configOf("prod").gateway,
      exposure: { kind: "loadBalancer" },
      certificates: {
        kind: "acme",
        server: "https://acme.example.com/directory",
        email: "ops@example.com",
        challenge: "http01",
        cidrs: ["203.0.113.0/24"],
      },
      people: { kind: "oidc", issuer: "https://login.example.com", clientId: "carbon", cidrs: ["203.0.113.0/24"] },
      programs: {
        kind: "jwt",
        issuer: "https://tokens.example.com",
        jwks: "https://tokens.example.com/keys",
        cidrs: ["203.0.113.0/24"],
      },
    },
    egress: {
      proxy: {
        url: "http://proxy.example.com:3128",
        cidrs: ["198.51.100.7/32"],
        noProxy: ["s3.example.com", "login.example.com", "pypi.example.com", "tokens.example.com"],
      },
    },
    mail: {
      server: "smtp.example.com",
      port: 587,
      username: "carbon",
      from: "carbon@example.com",
      cidrs: ["203.0.113.0/24"],
    },
    singleSignOn: {
      issuer: "https://login.example.com",
      cidrs: ["203.0.113.0/24"],
      scopes: ["openid", "profile", "email"],
      groupsClaim: "groups",
      superset: { clientId: "superset", roles: { Admin: ["platform"] } },
      datahub: { clientId: "datahub", roles: { Admin: ["platform"] } },
      grafana: {
        clientId: "grafana",
        roles: { Admin: ["platform"] },
        authorizationUrl: "https://login.example.com/authorize",
        tokenUrl: "https://login.example.com/token",
        userInfoUrl: "https://login.example.com/userinfo",
      },
    },
  }),
};

/** The names of the shapes with every system. */
export const SHAPES = Object.keys(CONFIGS);

/** Those, and the stacks that lack some. */
export const ALL_SHAPES = [...new Set([...SHAPES, ...STACKS])];

/** The config of a shape. */
export function shaped(shape: string): FullConfig {
  const config = CONFIGS[shape] ?? (STACKS.includes(shape) ? () => configOf(shape) : undefined);
  if (config === undefined) throw new Error(`there is no shape ${shape}; there are ${SHAPES.join(", ")}`);
  return config();
}

/** The program in one of its shapes. */
export function program(shape: string): Promise<Program> {
  return run(shaped(shape));
}

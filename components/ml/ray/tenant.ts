import * as pulumi from "@pulumi/pulumi";
import { mountBindings } from "../../base/bindings";
import type { Destination } from "../../base/connect";
import { type Endpoint, serviceEndpoint } from "../../base/endpoint";
import { envSecret } from "../../base/secret";
import { service } from "../../base/service";
import { groupsOf, HEAD_PORTS, rayPods, type RayWorkers } from "./pods";
import { type Standalone, standaloneCluster } from "./standalone";

/** Inputs of {@link TenantRay}. */
export interface TenantRayArgs {
  /** The tenant's namespace. */
  readonly namespace: pulumi.Input<string>;
  readonly head: Standalone["head"];
  readonly workers: RayWorkers;
  /** The token of every node and client. */
  readonly token: pulumi.Output<string>;
  /** The Secrets of the tenant's other grants, which its tasks find mounted. */
  readonly bindings: readonly string[];
  /** Variables with which its tasks' libraries log in there. */
  readonly clientEnv: Readonly<Record<string, pulumi.Input<string>>>;
  /** What those grants lead to. */
  readonly talksTo: readonly Destination[];
}

/** A Ray cluster of a tenant's own, without anything of the platform's but what the tenant was granted. */
export class TenantRay extends pulumi.ComponentResource {
  /** Dashboard and job API. */
  readonly dashboard: Endpoint<"http">;
  /** The Ray client server, for `ray.init("ray://…")`. */
  readonly client: Endpoint<"ray">;

  constructor(name: string, args: TenantRayArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ml:TenantRay", name, {}, opts);
    const { namespace, head, workers, token, clientEnv, talksTo } = args;
    const pods = rayPods(name, namespace);
    const auth = envSecret(
      `${name}-auth`,
      { namespace, data: { RAY_AUTH_TOKEN: token, ...clientEnv } },
      { parent: this },
    );
    const entry = service(`${name}-head`, pods.head, HEAD_PORTS, { parent: this }, { headless: true });
    const { env, mounts, volumes } = mountBindings(args.bindings);
    const { jobs } = standaloneCluster(
      this,
      { kind: "standalone", head },
      {
        pods,
        servers: pods,
        environment: {
          env: { HOME: "/tmp", RAY_USAGE_STATS_ENABLED: "0", RAY_AUTH_MODE: "token", ...env },
          secretEnv: [auth],
          mounts,
          volumes,
          needsBundle: false,
        },
        authSecret: auth.name,
        groups: groupsOf({ workers }),
        talksTo,
        after: [auth.resource, entry],
      },
    );
    const onHead = { service: `${name}-head`, auth: "bearer", server: pods.head, ready: [entry, jobs] } as const;
    this.dashboard = serviceEndpoint("http", HEAD_PORTS.dashboard, onHead);
    this.client = serviceEndpoint("ray", HEAD_PORTS.client, onHead);
    this.registerOutputs();
  }
}

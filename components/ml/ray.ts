import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import {
  type Bucket,
  type Endpoint,
  type ExternalPeer,
  type PodIdentity,
  type RedisLogin,
  serviceEndpoint,
  url,
} from "../base/endpoint";
import type { Offer } from "../base/offer";
import { s3Ca, s3ClientEnv, s3ClientSecret, s3Trust } from "../base/s3-client";
import { type Metrics, scrape, scrapeByService } from "../base/scrape";
import { type EnvSecret, envSecret } from "../base/secret";
import { service } from "../base/service";
import { grantAccess, type RayAccess } from "./ray/access";
import { type KubeRay, kuberayClusters } from "./ray/kuberay";
import { groupsOf, HEAD_PORTS, rayPods, type RayPods, type WorkerGroup, type WorkerGroups } from "./ray/pods";
import { type Standalone, standaloneCluster } from "./ray/standalone";

/** An index of Python packages, as pip asks it. */
export interface PackageIndex {
  readonly url: string;
  readonly server: ExternalPeer;
}

/** Inputs of {@link Ray}. */
export interface RayArgs extends WorkerGroups {
  /** Namespace of every object made here except the operator's; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** The mode, with its own inputs. */
  readonly mode: Standalone | KubeRay;
  /** The token of every node and client; without it Ray would run code for anybody who reaches it. */
  readonly token: pulumi.Output<string>;
  /** The endpoints that tasks may reach, by the environment variable with the URL. */
  readonly services: Readonly<Record<string, Endpoint<"http">>>;
  /** Where the packages of applications come from. @default nowhere */
  readonly packageIndex?: PackageIndex | undefined;
  /** Further variables of tasks. */
  readonly env: Readonly<Record<string, string>>;
  /** Bucket of the history of features. The same user may read the bucket of applications' code. */
  readonly features: Bucket;
  /** The Redis that keeps the state of clusters while their heads restart. @default none: what ran is lost */
  readonly state?: RedisLogin | undefined;
  readonly access: RayAccess;
  /** Whether the gateway lets people reach the dashboard, from which they may run any code. @default false */
  readonly publicDashboard?: boolean;
  readonly metrics: Metrics;
}

/** How many workers of a group there are at least, one or more. */
export interface WorkersMin {
  /** The cluster's name, the pods' label `app`. */
  readonly cluster: string;
  /** The pods' label `component`. */
  readonly component: string;
  readonly min: number;
}

/** A Ray cluster: a head, and workers that are drained before they stop. */
export class Ray extends pulumi.ComponentResource {
  /** Dashboard and job API. */
  readonly dashboard: Endpoint<"http">;
  /** The global control store, for `ray start --address`. */
  readonly gcs: Endpoint<"grpc">;
  /** The Ray client server, for `ray.init("ray://…")`. */
  readonly client: Endpoint<"ray">;
  /** The HTTP proxy of Ray Serve, once an application is deployed; with KubeRay only if there are applications. */
  readonly serve: Endpoint<"http"> | undefined;
  /** The workers that there are at least. */
  readonly workersMin: readonly WorkersMin[];
  /** The Secret with the token, under the variable that clients read. */
  readonly auth: EnvSecret;
  readonly offers: Offer;

  constructor(name: string, args: RayArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ml:Ray", name, {}, opts);
    const { namespace, mode, token, services, env, features, access, metrics, publicDashboard = false } = args;
    const groups = groupsOf(args);

    const login = envSecret(
      `${name}-object-store`,
      { namespace, data: s3ClientSecret(features.store) },
      { parent: this },
    );
    this.auth = envSecret(
      `${name}-auth`,
      // KubeRay uses another key.
      { namespace, data: { RAY_AUTH_TOKEN: token, ...(mode.kind === "kuberay" && { auth_token: token }) } },
      { parent: this },
    );
    const { packageIndex } = args;
    const destinations = [...Object.values(services), ...(packageIndex ? [packageIndex.server] : [])];
    const state = args.state && {
      server: args.state.server,
      trust: args.state.trust,
      login: envSecret(
        `${name}-redis`,
        {
          namespace,
          data: { REDIS_USERNAME: args.state.login.username, REDIS_PASSWORD: args.state.login.password },
        },
        { parent: this },
      ),
    };

    // These Services select the current mode's cluster, so their names survive a switch.
    const isOperated = mode.kind === "kuberay";
    const pods = isOperated ? operatedPods(`${name}-cluster`, namespace) : rayPods(name, namespace);
    const servers = isOperated ? operatedPods(`${name}-serve-cluster`, namespace) : pods;
    const headService = service(`${name}-head`, pods.head, HEAD_PORTS, { parent: this }, { headless: true });
    const serving = isOperated ? mode.serving && servingPods(servers) : servers.head;
    const serveService = serving && service(`${name}-serve`, serving, { serve: HEAD_PORTS.serve }, { parent: this });
    const shared = {
      pods,
      servers,
      environment: {
        env: {
          HOME: "/tmp",
          RAY_USAGE_STATS_ENABLED: "0",
          RAY_AUTH_MODE: "token",
          ...(packageIndex && { PIP_INDEX_URL: packageIndex.url, ...UNUSED_PACKAGES }),
          ...env,
          ...Object.fromEntries(Object.entries(services).map(([variable, endpoint]) => [variable, url(endpoint)])),
          ...s3ClientEnv(features.store),
          FEAST_OFFLINE_BUCKET: features.name,
        },
        secretEnv: [login, this.auth],
        ...s3Ca(features.store),
        needsBundle: packageIndex !== undefined && s3Trust(features.store) !== undefined,
      },
      authSecret: this.auth.name,
      groups,
      ...(state && { state }),
      talksTo: [...destinations, features.store.destination],
      after: [login.resource, this.auth.resource, headService, ...(state ? [state.login.resource] : [])],
    };
    const made = mode.kind === "kuberay" ? kuberayClusters(this, mode, shared) : standaloneCluster(this, mode, shared);
    for (const cluster of new Set(serving ? [pods.all, servers.all] : [pods.all])) {
      const target = { pods: cluster, port: { name: "metrics", number: HEAD_PORTS.metrics }, by: metrics };
      if (isOperated) scrapeByService(this, target);
      else scrape(this, target);
    }
    grantAccess(this, name, access, { head: pods.head, podName: made.headPod, authSecret: this.auth.name });

    const onHead = {
      service: `${name}-head`,
      auth: "bearer",
      server: pods.head,
      ready: [headService, made.jobs],
    } as const;
    this.dashboard = serviceEndpoint("http", HEAD_PORTS.dashboard, onHead);
    this.gcs = serviceEndpoint("grpc", HEAD_PORTS.gcs, onHead);
    this.client = serviceEndpoint("ray", HEAD_PORTS.client, onHead);
    this.serve =
      serveService &&
      serviceEndpoint("http", HEAD_PORTS.serve, {
        service: `${name}-serve`,
        server: isOperated ? servers.all : servers.head,
        ready: [serveService, made.serving],
      });
    this.workersMin = [
      ...leastOf(pods, groups),
      ...(isOperated && mode.serving ? leastOf(servers, groupsOf(mode.serving)) : []),
    ];
    this.offers = {
      endpoints: {
        dashboard: this.dashboard,
        gcs: this.gcs,
        client: this.client,
        ...(this.serve && { serve: this.serve }),
      },
      credentials: { token: { namespace, name: this.auth.name } },
      alerts: ["ray", ...(isOperated ? ["kuberay"] : [])].map((file) => path.join(__dirname, `${file}.alerts.yaml`)),
      entries: [
        ...(publicDashboard
          ? [{ kind: "site", host: "ray", endpoint: this.dashboard, timeoutSeconds: 300 } as const]
          : []),
        ...(this.serve
          ? [
              {
                kind: "api",
                name: "ray",
                endpoint: this.serve,
                rate: { perMinute: 600, perHour: 30000 },
                timeoutSeconds: 60,
                retries: 2,
              } as const,
            ]
          : []),
      ],
    };
    this.registerOutputs();
  }
}

// Ray would keep 10 GB of packages that nothing uses any more, for which nodes have no disk.
const UNUSED_PACKAGES = { RAY_RUNTIME_ENV_PIP_CACHE_SIZE_GB: "0" };

/** The pods of a KubeRay cluster: only the head's, which has the autoscaler, gets rights. */
function operatedPods(name: string, namespace: pulumi.Input<string>): RayPods {
  return rayPods(name, namespace, `${name}-head`);
}

function leastOf({ all }: RayPods, groups: readonly WorkerGroup[]): WorkersMin[] {
  return groups
    .filter(({ workers }) => workers.min > 0)
    .map(({ component, workers: { min } }) => ({ cluster: all.name, component, min }));
}

/** The pods that serve requests: KubeRay labels workers, and the head while its proxy is healthy. */
function servingPods({ all }: RayPods): PodIdentity {
  return { ...all, matchLabels: { ...all.matchLabels, "ray.io/serve": "true" } };
}

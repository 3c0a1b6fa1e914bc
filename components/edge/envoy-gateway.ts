import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, caOf, serverCertificate } from "../base/certificate";
import { admitEverybody, connect, observe } from "../base/connect";
import { type ApiServer, type Credential, type PodIdentity, type PodPorts, serviceHost } from "../base/endpoint";
import { objectName } from "../base/names";
import type { Api, Entry, Offer, SecretLocation } from "../base/offer";
import type { ContainerSize } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { controller } from "./envoy-gateway/controller";
import { type Exposure, tunnel } from "./envoy-gateway/exposure";
import { CONTAINER_PORTS, HTTPS_PORT, proxies, proxyPods, TENANTS } from "./envoy-gateway/proxies";
import {
  hostOf,
  keptFrom,
  keysRule,
  limits,
  pathOf,
  originsRule,
  patience,
  type People,
  peopleRule,
  peopleSecret,
  policy,
  type Programs,
  programsRule,
  publicWay,
  route,
  type RouteArgs,
  routeName,
  tenantWay,
  urlOf,
} from "./envoy-gateway/routes";

// Pods that cert-manager starts to answer an HTTP-01 challenge.
const SOLVER = { labels: { "acme.cert-manager.io/http01-solver": "true" }, port: 8089 };

/** The ways into one system. */
export interface Published {
  readonly entries: readonly Entry[];
  /** The key to its APIs, where programs have keys. */
  readonly apiKey?: pulumi.Output<string>;
}

/** Pods of tenants, which reach APIs through the gateway and by no other way. */
export interface TenantPrograms {
  /** Signs the certificate of the name by which they call. */
  readonly authority: Authority;
  /** The certificate of that authority, in PEM. */
  readonly ca: pulumi.Output<string>;
  /** By system, the key of each user to its APIs. */
  readonly keys: Readonly<Record<string, Readonly<Record<string, pulumi.Output<string>>>>>;
}

/** The APIs of one system, as pods of a tenant reach them. */
export interface TenantApi {
  readonly to: PodPorts & { readonly ready: readonly pulumi.Resource[] };
  readonly host: pulumi.Output<string>;
  readonly port: number;
  readonly path: string;
  /** The user and its key. */
  readonly login: Credential;
  readonly ca: pulumi.Output<string>;
}

/** Inputs of {@link EnvoyGateway}. */
export interface EnvoyGatewayArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** The namespaces with the servers of all entries. */
  readonly serverNamespaces: readonly pulumi.Input<string>[];
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  readonly clusterDomain: string;
  /** DNS zone of the public host names. */
  readonly domain: string;
  /** What is let in, by the name of the system. */
  readonly systems: Readonly<Record<string, Published>>;
  readonly exposure: Exposure;
  readonly people: People;
  readonly programs: Programs;
  /** @default none */
  readonly tenants?: TenantPrograms | undefined;
  /** Issues the certificate of all hosts. */
  readonly authority: Authority;
  /** Whether clients of the public hosts must be told its CA, because they know no other that signed. */
  readonly ownCa: boolean;
  /** Whether the authority has names proven by HTTP, through this gateway. */
  readonly provesByHttp: boolean;
  /** Proxy pods. */
  readonly replicas: number;
  /** Size of each proxy. */
  readonly size: ContainerSize;
  /** Size of the controller, which makes the proxies. */
  readonly controllerSize: ContainerSize;
  readonly metrics: Metrics;
}

/** The one way in: Envoy proxies with TLS, and for each entry a route, who may take it, and how often. */
export class EnvoyGateway extends pulumi.ComponentResource {
  readonly offers: Offer;
  private readonly tenants = new Map<string, TenantApi>();

  constructor(name: string, args: EnvoyGatewayArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:edge:EnvoyGateway", name, {}, opts);
    const { namespace, domain, systems, people, programs, metrics } = args;
    const entries = Object.values(systems).flatMap((system) => system.entries);
    const pods = proxyPods(name, namespace);
    const providers = [people, programs].flatMap((proof) => ("provider" in proof ? [proof.provider] : []));

    const inside = args.tenants && {
      host: pulumi.interpolate`${serviceHost(name, namespace)}.${args.clusterDomain}`,
      certificate: `${name}-${TENANTS}-tls`,
    };

    const { ready, xds } = controller(this, {
      ...args,
      watched: [namespace, ...args.serverNamespaces],
      size: args.controllerSize,
      talksTo: providers,
    });
    const wires = [
      ...connect(this, { from: pods, talksTo: [xds, ...providers] }),
      ...this.admit(name, args, {
        kind: "pods",
        server: pods,
        ports: [{ port: CONTAINER_PORTS.http }, { port: CONTAINER_PORTS.https }],
        why: "https",
      }),
      ...entries.flatMap(({ endpoint }) => observe(this, pods, endpoint)),
    ];
    if (args.provesByHttp) {
      const server = { name: "acme-solver", namespace, matchLabels: SOLVER.labels, serviceAccount: "default" };
      wires.push(...observe(this, pods, { kind: "pods", server, ports: [{ port: SOLVER.port }], why: "challenges" }));
    }
    scrape(this, {
      pods,
      port: { name: "metrics", number: CONTAINER_PORTS.metrics },
      path: "/stats/prometheus",
      by: metrics,
    });

    const gateway = proxies(this, {
      ...args,
      pods,
      certificate: `${name}-tls`,
      ...(inside && { inside }),
      dependsOn: [...ready, ...wires, args.authority.ready],
    });
    const certificate = serverCertificate(
      name,
      {
        namespace,
        // The authority may have names proven by HTTP, through the gateway.
        authority: { ...args.authority, ready: gateway },
        dnsNames: [...new Set(entries.map((entry) => hostOf(entry, domain)))].sort(),
      },
      { parent: this },
    );

    const sites = entries.filter((entry) => entry.kind === "site");
    const guards = [
      this.guardSites(`${name}-people`, args, sites.map(routeName), ready),
      ...sites.map((site) => {
        const routes = [routeName(site)];
        const spec = patience(site);
        return policy(this, "BackendTrafficPolicy", routeName(site), { namespace, routes, spec }, ready);
      }),
      ...Object.entries(systems).flatMap(([system, published]) => this.guardApis(system, args, published, ready)),
    ];
    const at = { gateway: name, namespace, domain };
    if (args.tenants && inside) {
      this.admitTenants(name, args.tenants, { ...args, ...inside, at, pods, ready: [gateway, ...ready] });
    }
    for (const entry of entries) {
      const without = keptFrom(entry, people, programs);
      route(this, entry, publicWay(entry, domain), { ...at, without }, [gateway, ...guards]);
    }
    this.offers = {
      alerts: [path.join(__dirname, "envoy-gateway.alerts.yaml")],
      facts: {
        sites: urls(sites, domain),
        apis: urls(entries.filter(isApi), domain),
        auth: programs.kind === "keys" ? "api-key" : "bearer",
        ...(args.ownCa && { ca: caOf(certificate.trust, namespace) }),
      },
      credentials: {
        ...(people.kind === "basic" && { people: { namespace, name: `${name}-people` } }),
        ...keysOf(systems, namespace),
      },
    };
    this.registerOutputs();
  }

  /** Lets the world reach the proxies. */
  private admit(name: string, { namespace, exposure }: EnvoyGatewayArgs, to: PodPorts): pulumi.Resource[] {
    if (exposure.kind !== "cloudflareTunnel") return admitEverybody(this, to);
    tunnel(this, `${name}-tunnel`, exposure, { namespace, to });
    return [];
  }

  /** Makes the policy for people. */
  private guardSites(
    name: string,
    { namespace, people }: EnvoyGatewayArgs,
    routes: readonly string[],
    ready: readonly pulumi.Resource[],
  ): pulumi.Resource {
    const data = peopleSecret(people);
    const secret = data && envSecret(name, { namespace, data }, { parent: this });
    const spec = peopleRule(people, name);
    return policy(this, "SecurityPolicy", name, { namespace, routes, spec }, [
      ...ready,
      ...(secret ? [secret.resource] : []),
    ]);
  }

  /** Makes the ways of tenants: the certificate, and for each system a Secret with their keys, and its routes. */
  private admitTenants(
    name: string,
    { authority, ca, keys }: TenantPrograms,
    { systems, namespace, replicas, host, at, pods, ready }: TenantWayArgs,
  ): void {
    const dnsNames = [host];
    const certificate = serverCertificate(`${name}-${TENANTS}`, { namespace, authority, dnsNames }, { parent: this });
    const ports = [{ port: CONTAINER_PORTS.https }];
    for (const [system, data] of Object.entries(keys)) {
      const secret = objectName(TENANTS, system.toLowerCase());
      const { resource } = envSecret(secret, { namespace, data }, { parent: this });
      for (const api of systems[system]?.entries.filter(isApi) ?? []) {
        const way = tenantWay(api, host);
        const routes = [way.name];
        const guards = [
          policy(this, "SecurityPolicy", way.name, { namespace, routes, spec: keysRule(api, secret) }, [
            ...ready,
            resource,
          ]),
          policy(this, "BackendTrafficPolicy", way.name, { namespace, routes, spec: limits(api, replicas) }, ready),
        ];
        const led = route(this, api, way, { ...at, without: [] }, [...ready, ...guards]);
        for (const [user, key] of Object.entries(data)) {
          this.tenants.set(`${system} ${user}`, {
            to: { kind: "pods", server: pods, ports, why: "https", ready: [led, certificate.resource] },
            ...{ host, port: HTTPS_PORT, path: pathOf(api), ca },
            login: { username: pulumi.output(user), password: key },
          });
        }
      }
    }
  }

  /** Where a user of a tenant's reaches the API of a system. */
  tenantApi(system: string, user: string): TenantApi {
    const found = this.tenants.get(`${system} ${user}`);
    if (found === undefined) throw new Error(`the gateway has no key to ${system} for ${user}`);
    return found;
  }

  /** Makes the policies for the APIs of a system, and the Secret with its key. */
  private guardApis(
    system: string,
    { namespace, domain, programs, replicas }: EnvoyGatewayArgs,
    { entries, apiKey }: Published,
    ready: readonly pulumi.Resource[],
  ): pulumi.Resource[] {
    const name = keyName(system);
    // Envoy calls the client by the name of the key in the Secret.
    const secret = apiKey && envSecret(name, { namespace, data: { [system]: apiKey } }, { parent: this });
    const known = [...ready, ...(secret ? [secret.resource] : [])];
    return entries.filter(isApi).flatMap((api) => {
      const routes = [routeName(api)];
      const who = { ...originsRule(domain), ...programsRule(programs, api, name) };
      return [
        policy(this, "SecurityPolicy", routeName(api), { namespace, routes, spec: who }, known),
        policy(this, "BackendTrafficPolicy", routeName(api), { namespace, routes, spec: limits(api, replicas) }, ready),
      ];
    });
  }
}

/** What a way for tenants is made of. */
interface TenantWayArgs extends Pick<EnvoyGatewayArgs, "systems" | "namespace" | "replicas"> {
  readonly at: RouteArgs;
  readonly pods: PodIdentity;
  /** The name by which they call. */
  readonly host: pulumi.Output<string>;
  readonly ready: readonly pulumi.Resource[];
}

function isApi(entry: Entry): entry is Api {
  return entry.kind === "api";
}

/** Name of the Secret with the key to the APIs of a system. */
function keyName(system: string): string {
  return objectName("api-key", system.toLowerCase());
}

function keysOf(systems: EnvoyGatewayArgs["systems"], namespace: pulumi.Input<string>): Record<string, SecretLocation> {
  const withKey = Object.entries(systems).filter(([, { apiKey }]) => apiKey !== undefined);
  return Object.fromEntries(withKey.map(([system]) => [system, { namespace, name: keyName(system) }]));
}

function urls(entries: readonly Entry[], domain: string): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => [entry.kind === "site" ? entry.host : entry.name, urlOf(entry, domain)]),
  );
}

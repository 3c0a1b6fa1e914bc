import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { type Authority, serverCertificate } from "../base/certificate";
import { type ChartDeclaration, ChartRelease } from "../base/chart-release";
import { connect, type Destination } from "../base/connect";
import {
  type ApiServer,
  type Endpoint,
  type PodIdentity,
  podsNamed,
  type SearchAccess,
  type SearchLogin,
  serviceEndpoint,
  serviceNames,
  type Trust,
  url,
} from "../base/endpoint";
import { exporter } from "../base/exporter";
import { objectName } from "../base/names";
import type { Offer } from "../base/offer";
import {
  container,
  type ContainerSize,
  podTemplate,
  type ResourceQuantities,
  resources,
  serviceAccount,
} from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { type EnvSecret, envSecret } from "../base/secret";
import { charts, elasticsearchVersion, images } from "../base/versions";
import { keptVolume, type Volume } from "../base/volume";

const HTTP_PORT = 9200;
const TRANSPORT_PORT = 9300;
// The user `elasticsearch` of the image.
const ELASTICSEARCH_UID = 1000;
const OPERATOR = "elastic-operator";
const OPERATOR_METRICS = { name: "metrics", number: 8080 };
const NODE_SET = "default";
const EXPORTER = "exporter";
const EXPORTER_PORT = 9114;
// The user `nobody` of the image.
const EXPORTER_UID = 65534;
const EXPORTER_TRUST = "/etc/elasticsearch-trust";
// The operator's scratch volumes by their names, which take ours in their place. Its own have no limit, and the kubelet evicts a
// pod that has more on its node's disk than it asked for (cloud-on-k8s#6542). Java keeps 33 logs of 64 MB of its garbage
// collections; the others are copies of the image's directories.
const SCRATCH = {
  "elasticsearch-logs": { sizeMiB: 2304 },
  "tmp-volume": { sizeMiB: 256 },
  "elastic-internal-elasticsearch-bin-local": { sizeMiB: 256 },
  "elastic-internal-elasticsearch-config-local": { sizeMiB: 64 },
  "elastic-internal-elasticsearch-plugins-local": { sizeMiB: 64 },
};

/** A client of the cluster, and the name of its user and role. */
export interface SearchClient extends SearchAccess {
  readonly password: pulumi.Output<string>;
}

/** Inputs of {@link Elasticsearch}. */
export interface ElasticsearchArgs {
  /** Namespace of the cluster; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Namespace of the operator, ECK; it must exist. */
  readonly operatorNamespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** Signs the server certificate. */
  readonly authority: Authority;
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  /** Names of other Services for the cluster, which its certificate includes. @default [] */
  readonly aliases?: readonly string[];
  /** Nodes, each eligible as master and holding data. Two are no safer than one, since a majority needs both. */
  readonly nodes: number;
  readonly size: ContainerSize;
  readonly operatorSize: ContainerSize;
  readonly volume: Volume;
  readonly clients: Readonly<Record<string, SearchClient>>;
  /** The pod that asks the cluster for its metrics, and the password of its user. */
  readonly exporter: { readonly size: ContainerSize; readonly password: pulumi.Output<string> };
  readonly metrics: Metrics;
  /** Refuses to delete or replace the cluster. */
  readonly protect: boolean;
}

/** Elasticsearch managed by ECK: one cluster, and a user, role and Secret per client. */
export class Elasticsearch<Client extends string = string> extends pulumi.ComponentResource {
  /** The HTTP API, for every client. */
  readonly endpoint: Endpoint<"http">;
  readonly offers: Offer;
  private readonly logins: ReadonlyMap<string, SearchLogin>;

  constructor(
    name: string,
    args: ElasticsearchArgs & { readonly clients: Readonly<Partial<Record<Client, SearchClient>>> },
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:Elasticsearch", name, {}, opts);
    const { namespace, protect }: ElasticsearchArgs = args;
    const clients: Readonly<Record<string, SearchClient>> = {
      ...args.clients,
      [EXPORTER]: { password: args.exporter.password, cluster: ["monitor"], indices: [] },
    };
    const server = podsNamed(name, namespace, { "elasticsearch.k8s.elastic.co/cluster-name": name });
    const http: Destination = { kind: "pods", server, ports: [{ port: HTTP_PORT }], why: "http" };

    const operator = this.operate(args, http);
    const account = serviceAccount(server, { parent: this });
    // A stopping node announces this over HTTP, so that the others wait for it.
    const wires = connect(this, {
      from: server,
      talksTo: [{ ...http, ports: [{ port: HTTP_PORT }, { port: TRANSPORT_PORT }], why: "nodes among themselves" }],
    });
    const certificate = serverCertificate(
      name,
      { namespace, authority: args.authority, dnsNames: dnsNames(name, args) },
      { parent: this },
    );
    const roles = envSecret(
      `${name}-roles`,
      { namespace, data: { "roles.yml": stringify(Object.fromEntries(Object.entries(clients).map(role))) } },
      { parent: this },
    );
    const secrets = Object.entries(clients).map(
      ([client, { password }]) =>
        [
          client,
          envSecret(
            objectName(name, client),
            { namespace, type: "kubernetes.io/basic-auth", data: { username: client, password, roles: client } },
            { parent: this },
          ),
        ] as const,
    );
    const users = secrets.map(([, secret]) => secret);
    const cluster = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: "elasticsearch.k8s.elastic.co/v1",
        kind: "Elasticsearch",
        // Does not wait for health: a single node is yellow as soon as an index has a replica.
        metadata: { name, namespace, annotations: { "pulumi.com/waitFor": "jsonpath={.status.phase}=Ready" } },
        spec: {
          ...clusterSpec(args, server),
          http: { tls: { certificate: { secretName: certificate.secretName } } },
          auth: authentication(roles, users),
        },
      },
      {
        parent: this,
        protect,
        dependsOn: [
          ...[operator, account, certificate.resource, ...wires],
          ...[roles, ...users].map(({ resource }) => resource),
        ],
      },
    );

    this.endpoint = serviceEndpoint("http", HTTP_PORT, {
      service: `${name}-es-http`,
      trust: certificate.trust,
      auth: "basic",
      server,
      ready: [cluster],
    });
    this.logins = new Map(
      Object.entries(clients).map(([client, { password }]) => [
        client,
        { server: this.endpoint, login: { username: pulumi.output(client), password }, trust: certificate.trust },
      ]),
    );
    this.offers = {
      endpoints: { elasticsearch: this.endpoint },
      credentials: Object.fromEntries(
        secrets.map(([client, { name: secret }]) => [client, { namespace, name: secret }]),
      ),
      legacyNames: Object.fromEntries(args.aliases?.map((alias) => [alias, [this.endpoint]]) ?? []),
      alerts: [path.join(__dirname, "elasticsearch.alerts.yaml")],
    };
    this.watch(objectName(name, EXPORTER), args, certificate.trust);
    this.registerOutputs();
  }

  private operate(args: ElasticsearchArgs, http: Destination): pulumi.Resource {
    const release = new ChartRelease(
      OPERATOR,
      charts.eckOperator,
      {
        namespace: args.operatorNamespace,
        directory: args.chartDirectory,
        values: operatorValues(args),
        declares: operatorDeclaration(args.operatorSize),
        talksTo: { [OPERATOR]: [args.kubeApi, http] },
      },
      { parent: this },
    );
    scrape(this, { pods: release.identity(OPERATOR), port: OPERATOR_METRICS, job: OPERATOR, by: args.metrics });
    return release;
  }

  private watch(name: string, { namespace, exporter: own, metrics }: ElasticsearchArgs, trust: Trust): void {
    const login = envSecret(
      objectName(name, "login"),
      { namespace, data: { ES_USERNAME: EXPORTER, ES_PASSWORD: own.password } },
      { parent: this },
    );
    exporter(this, name, {
      namespace,
      image: images.elasticsearchExporter,
      size: own.size,
      uid: EXPORTER_UID,
      args: [
        pulumi.interpolate`--es.uri=${url(this.endpoint)}`,
        `--es.ca=${EXPORTER_TRUST}/ca.crt`,
        "--es.all",
        `--web.listen-address=:${EXPORTER_PORT}`,
      ],
      secretEnv: [login],
      mounts: { [EXPORTER_TRUST]: "trust" },
      volumes: [{ name: "trust", ...trust.volume }],
      port: EXPORTER_PORT,
      healthPath: "/healthz",
      talksTo: [this.endpoint],
      by: metrics,
    });
  }

  /** The cluster and the user of a client. */
  login(client: Client): SearchLogin {
    const login = this.logins.get(client);
    if (login === undefined) throw new Error(`Elasticsearch has no user ${client}`);
    return login;
  }
}

// The last Service names each pod, as clients get them when they ask the cluster for its nodes.
function dnsNames(name: string, { namespace, aliases = [], clusterDomain }: ElasticsearchArgs): pulumi.Input<string>[] {
  return [`${name}-es-http`, ...aliases, `*.${name}-es-${NODE_SET}`].flatMap((service) =>
    serviceNames(service, namespace, clusterDomain),
  );
}

function role([client, { cluster, indices }]: [string, SearchAccess]): [string, SearchAccess] {
  return [client, { cluster, indices }];
}

function authentication(roles: EnvSecret, users: readonly EnvSecret[]): object {
  return {
    // Nobody needs the superuser: the operator has its own user.
    disableElasticUser: true,
    fileRealm: users.map(({ name }) => ({ secretName: name })),
    roles: [{ secretName: roles.name }],
  };
}

function clusterSpec({ nodes, size, volume }: ElasticsearchArgs, server: PodIdentity): object {
  return {
    version: elasticsearchVersion,
    image: images.elasticsearch,
    // Deleting the cluster keeps its claims; only scaling down deletes those of nodes whose data has moved.
    volumeClaimDeletePolicy: "DeleteOnScaledownOnly",
    // The operator's budget for a single node would only block drains.
    ...(nodes === 1 && { podDisruptionBudget: {} }),
    nodeSets: [
      {
        name: NODE_SET,
        count: nodes,
        // Memory maps need a kernel setting that restricted pods cannot change.
        config: { "node.store.allow_mmap": false },
        podTemplate: podTemplate(server, {
          // The operator adds the rest: mounts, probes, restricted init containers. The heap is half of
          // the memory, which the server reads from its limit.
          containers: [container("elasticsearch", { image: images.elasticsearch, size })],
          scratch: SCRATCH,
          uid: ELASTICSEARCH_UID,
          priorityClass: "critical-services",
        }),
        volumeClaimTemplates: keptVolume({ name: "elasticsearch-data", ...volume }).volumeClaimTemplates,
      },
    ],
  };
}

/** The keys of the chart that we set. */
type OperatorValues = {
  readonly managedNamespaces: readonly pulumi.Output<string>[];
  readonly installCRDs: true;
  readonly createClusterScopedResources: false;
  readonly resources: ResourceQuantities;
  readonly priorityClassName: string;
  readonly podSecurityContext: { readonly runAsNonRoot: true; readonly seccompProfile: { readonly type: string } };
  readonly webhook: { readonly enabled: false };
  readonly telemetry: { readonly disabled: true };
  readonly config: { readonly validateStorageClass: false; readonly metrics: { readonly port: string } };
};

function operatorValues({ namespace, operatorSize }: ElasticsearchArgs): OperatorValues {
  return {
    managedNamespaces: [pulumi.output(namespace)],
    installCRDs: true,
    // Rights in its own namespace and the cluster's, instead of on every Secret. The webhook and the StorageClass check would
    // need more; the operator repeats the webhook's validation anyway.
    createClusterScopedResources: false,
    webhook: { enabled: false },
    config: { validateStorageClass: false, metrics: { port: `${OPERATOR_METRICS.number}` } },
    resources: resources(operatorSize),
    priorityClassName: "critical-services",
    podSecurityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    telemetry: { disabled: true },
  };
}

function operatorDeclaration(size: ContainerSize): ChartDeclaration {
  return {
    workloads: [
      {
        kind: "StatefulSet",
        name: OPERATOR,
        labels: { "app.kubernetes.io/name": OPERATOR, "app.kubernetes.io/instance": OPERATOR },
        serviceAccount: OPERATOR,
        ports: { [OPERATOR_METRICS.name]: OPERATOR_METRICS.number },
        replicas: 1,
        size,
      },
    ],
    services: [],
    crds: [
      "agents.agent",
      "apmservers.apm",
      "autoopsagentpolicies.autoops",
      "beats.beat",
      "elasticmapsservers.maps",
      "elasticsearchautoscalers.autoscaling",
      "elasticsearches.elasticsearch",
      "enterprisesearches.enterprisesearch",
      "kibanas.kibana",
      "logstashes.logstash",
      "packageregistries.packageregistry",
      "stackconfigpolicies.stackconfigpolicy",
    ].map((kind) => `${kind}.k8s.elastic.co`),
  };
}

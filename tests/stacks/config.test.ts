import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { readStackFile } from "../../rehearsal/program/evaluate";
import { DATA_OWNERS, loadConfig, parseConfig } from "../../stacks/config/schema";
import { SECRET_KEYS } from "../../stacks/config/systems";
import { mockEngine } from "../support/mocks";
import { read } from "../support/sources";

type Spoil = (config: any) => void;

const SIZE = { cpu: { request: 1, limit: 2 }, memoryMiB: { request: 4096, limit: 8192 } };

function gpuWorkers(own: object): object {
  return { ...SIZE, image: "example.com/ray-gpu:2.60.0-py311-cu117", gpusPerWorker: 1, min: 1, max: 2, ...own };
}

function kuberay(servingWorkers: object): object {
  const workers = { ...SIZE, min: 1, max: 2 };
  const serving = { head: SIZE, workers: { ...SIZE, ...servingWorkers } };
  return { mode: "kuberay", head: SIZE, workers, serving, autoscaler: SIZE, operator: SIZE };
}

const OUTSIDE_API = { kind: "external", url: "https://s3.example.com", cidrs: ["203.0.113.0/24"], region: "eu-west-1" };
const OUTSIDE = { ...OUTSIDE_API, bucket: "carbon-backups" };
const OUTSIDE_STORE = { ...OUTSIDE_API, setup: SIZE };

const SIGN_ON = { issuer: "https://login.example.com", cidrs: ["203.0.113.0/24"] };

const quoted = (names: readonly string[]) => names.map((name) => `"${name}"`).join("|");

const K80 = "a Tesla-K80 (compute 3.7, driver R470) runs CUDA 11.0 to 11.8";
const NAME_IMAGE = "name an image whose tag has -cu118 or lower";

const QUOTA = {
  ...{ cpu: { request: 1, limit: 2 }, memoryGiB: { request: 1, limit: 2 }, pods: 5, storageGiB: 1 },
  container: { cpu: { request: 0.1, limit: 1, max: 2 }, memoryMiB: { request: 64, limit: 128, max: 1024 } },
};
// Room for a Ray cluster.
const LARGE = {
  ...{ cpu: { request: 4, limit: 8 }, memoryGiB: { request: 8, limit: 16 }, pods: 5, storageGiB: 10 },
  container: { cpu: { request: 0.1, limit: 1, max: 4 }, memoryMiB: { request: 64, limit: 128, max: 4096 } },
};
const tenant = (...uses: unknown[]) => ({ quota: QUOTA, members: ["pricing"], uses });

// Per case: what is spoilt, and the whole line that the user gets: key, value, what is allowed, next step.
const FAULTS: readonly (readonly [Spoil, string])[] = [
  [(c) => (c.domain = "A B"), `domain: "A B" is not allowed: expected a DNS name; correct it in FILE`],
  [
    (c) => (c.domian = "x"),
    "domian: unknown key; docs/schema/stack-config.json lists what is allowed; remove it or correct its name in FILE",
  ],
  [
    (c) => (c.postgres.instanzes = 1),
    "postgres.instanzes: unknown key; docs/schema/stack-config.json lists what is allowed; remove it or correct its name in FILE",
  ],
  [
    (c) => (c.postgres.parameters = { max_connections: 1000 }),
    "postgres.parameters.max_connections: this name is not allowed: the program manages this parameter; correct it in FILE",
  ],
  [
    (c) => (c.postgres.parameters = { archive_command: "true" }),
    "postgres.parameters.archive_command: this name is not allowed: CloudNativePG manages this parameter; correct it in FILE",
  ],
  [
    (c) => (c.cluster.nodeCidrs = ["10.0.0.1/8"]),
    "cluster.nodeCidrs.0: 10.0.0.1/8 is a host in a network; name the network, or the host as /32 in FILE",
  ],
  [
    (c) => (c.postgres.backups.target = { ...OUTSIDE, url: "https://user:secret@s3.example.com" }),
    "postgres.backups.target.url: has a login in it; take it out and set the credential in FILE",
  ],
  [
    (c) => (c.elasticsearch.readable = ["sales-*", "*"]),
    `elasticsearch.readable.1: "*" is not allowed: expected a pattern that begins with a letter or digit, such as sales-*; correct it in FILE`,
  ],
  [
    (c) => (c.ray.access = { groups: ["system:authenticated"] }),
    `ray.access.groups.0: "system:authenticated" is not allowed: expected a group of people; those of the system are everybody; correct it in FILE`,
  ],
  [
    (c) => (c.images.mirrors = { "docker.io/library": "mirror.example.com" }),
    "images.mirrors.docker.io/library: this name is not allowed: expected the host of a registry such as docker.io, without a folder; correct it in FILE",
  ],
  [
    (c) => {
      delete c.neo4j;
      c.placement = { neo4j: {} };
    },
    "placement.neo4j: neo4j is not configured; configure neo4j, or remove its placement in FILE",
  ],
  [
    (c) => (c.placement = { redis: { nodeSelector: { disk: "-" } } }),
    `placement.redis.nodeSelector.disk: "-" is not allowed: expected at most 63 letters, digits, dots, dashes and underscores; correct it in FILE`,
  ],
  [
    (c) => (c.tenants = { monitoring: tenant() }),
    "tenants.monitoring: this namespace is not a tenant's; choose another name in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ topic: "pricez", access: "read" }) }),
    "tenants.pricing.uses.0.topic: pricez is no topic; add it to kafka.topics or correct its name in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ database: "mlflow" }) }),
    "tenants.pricing.uses.0.database: mlflow is a database of the platform's; choose another in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ bucket: "postgres-backups", access: "read" }) }),
    "tenants.pricing.uses.0.bucket: postgres-backups is a bucket of the platform's; choose another in FILE",
  ],
  [
    (c) => {
      c.objectStore = OUTSIDE_STORE;
      c.tenants = { pricing: tenant({ bucket: "prices", access: "read" }) };
    },
    "tenants.pricing.uses.0.bucket: prices is in a store that issues its own logins; make bucket and login there, and remove the grant in FILE",
  ],
  [
    (c) => {
      delete c.kafka;
      delete c.datahub;
      c.tenants = { pricing: tenant({ topic: "prices", access: "read" }) };
    },
    "tenants.pricing.uses.0.topic: prices needs kafka, which is not configured; configure kafka, or remove the grant in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ search: "prices-*" }) }),
    "tenants.pricing.uses.0.search: prices-* does not begin with pricing-; rename the indices in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ bucket: "prices" }) }),
    "tenants.pricing.uses.0.access: missing: read or write; add it in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ database: "pricing", access: "read" }) }),
    "tenants.pricing.uses.0.access: a database belongs to its tenant, who may read and write; remove it in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ catalog: "iceberg" }) }),
    "tenants.pricing.uses.0.schema: missing: the tenant's schema; add it in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({ catalog: "iceberg", schema: "carbon_proof" }) }),
    "tenants.pricing.uses.0.catalog: carbon_proof is what Polaris' set-up makes and drops; choose another in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: { ...tenant("ray"), quota: { ...QUOTA, ...LARGE, storageGiB: 4 } } }),
    "tenants.pricing.quota.storageGiB: 4 is below what its own pods take at most (5, by ray); raise it, or make them smaller in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: { ...tenant("ray"), quota: { ...QUOTA, ...LARGE, pods: 2 } } }),
    "tenants.pricing.quota.pods: 2 is below what its own pods take at most (3, by ray); raise it, or make them smaller in FILE",
  ],
  [
    (c) => {
      const quota = { ...QUOTA, ...LARGE };
      quota.container = { ...quota.container, cpu: { request: 0.1, limit: 0.5, max: 1 } };
      const workers = { min: 1, max: 1, cpu: { request: 1, limit: 2 }, memoryMiB: { request: 512, limit: 1024 } };
      c.tenants = { pricing: { ...tenant("ray"), quota, ray: { workers } } };
    },
    "tenants.pricing.ray.workers.cpu.limit: 2 is above quota.container.cpu.max (1); lower it, or raise that in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: { ...tenant(), ray: {} } }),
    "tenants.pricing.ray: is the size of nothing; add ray to uses, or remove it in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant({}) }),
    "tenants.pricing.uses.0: {} is not allowed: expected mlflow, features, serve, ray, or one of bucket, database, topic, catalog, search with its name; correct it in FILE",
  ],
  [
    (c) => (c.tenants = { pricing: tenant("spark") }),
    `tenants.pricing.uses.0: "spark" is not allowed: expected mlflow, features, serve, ray, or one of bucket, database, topic, catalog, search with its name; correct it in FILE`,
  ],
  [
    (c) => {
      delete c.gateway;
      delete c.singleSignOn;
      c.tenants = { pricing: tenant("serve") };
    },
    "tenants.pricing.uses.0: serve needs gateway, which is not configured; configure gateway, or remove the grant in FILE",
  ],
  [(c) => (c.singleSignOn = SIGN_ON), "singleSignOn: names no system; add superset, datahub, grafana in FILE"],
  [
    (c) => {
      delete c.gateway;
      c.singleSignOn = { ...SIGN_ON, superset: { clientId: "superset", roles: { Admin: ["platform"] } } };
    },
    "singleSignOn.superset: has no public host to which the provider could send people back; configure gateway, or remove it in FILE",
  ],
  [
    (c) => {
      delete c.monitoring.grafana;
      const url = "https://login.example.com/oauth";
      const urls = { authorizationUrl: url, tokenUrl: url, userInfoUrl: url };
      c.singleSignOn = { ...SIGN_ON, grafana: { clientId: "grafana", roles: { Admin: ["platform"] }, ...urls } };
    },
    "singleSignOn.grafana: monitoring.grafana is not configured; configure monitoring.grafana, or remove it in FILE",
  ],
  [
    (c) => {
      delete c.superset;
      c.singleSignOn = { ...SIGN_ON, superset: { clientId: "superset", roles: { Admin: ["platform"] } } };
    },
    "singleSignOn.superset: superset is not configured; configure superset, or remove it in FILE",
  ],
  [
    (c) => {
      delete c.datahub.ingestion;
      c.singleSignOn = { ...SIGN_ON, datahub: { clientId: "datahub", roles: { Admin: ["platform"] } } };
    },
    "singleSignOn.datahub.roles: are written by a Job of datahub.ingestion, which is not configured; configure it, or remove datahub here in FILE",
  ],
  [
    (c) => {
      c.gateway.people = {
        kind: "oidc",
        issuer: "https://other.example.com",
        clientId: "carbon",
        cidrs: ["203.0.113.0/24"],
      };
      c.singleSignOn = { ...SIGN_ON, superset: { clientId: "superset", roles: { Admin: ["platform"] } } };
    },
    "singleSignOn.issuer: is another than gateway.people.issuer (https://other.example.com): people would log in twice; name one in FILE",
  ],
  [
    (c) => (c.singleSignOn = { ...SIGN_ON, superset: { clientId: "superset", roles: { Admin: ["a' || 'b"] } } }),
    `singleSignOn.superset.roles.Admin.0: "a' || 'b" is not allowed: expected letters, digits, spaces and ._:/@=,+- at most; correct it in FILE`,
  ],
  [
    (c) => {
      const noProxy = ["qagi.cloudflareaccess.com"];
      c.egress = { proxy: { url: "http://me:secret@proxy.example.com", cidrs: ["203.0.113.1/32"], noProxy } };
    },
    `egress.proxy.url: has a login in it, which is not supported in FILE`,
  ],
  [
    (c) => (c.egress = { certificates: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" }),
    "egress.certificates: is no list of certificates in PEM in FILE",
  ],
  [
    (c) => (c.egress = { proxy: { url: "http://proxy.example.com", cidrs: ["203.0.113.1/32"] } }),
    "gateway.people: Envoy knows no proxy, and qagi.cloudflareaccess.com would be asked through it; add it to egress.proxy.noProxy in FILE",
  ],
  [
    (c) => {
      c.egress = { proxy: { url: "http://proxy.example.com", cidrs: ["203.0.113.1/32"], noProxy: [".com"] } };
      c.objectStore = { ...OUTSIDE, setup: SIZE, url: "https://s3.example.org" };
      delete c.objectStore.bucket;
    },
    "objectStore.url: not all clients of S3 know a proxy, and s3.example.org would be asked through it; add it to egress.proxy.noProxy in FILE",
  ],
  [
    (c) => {
      const noProxy = ["qagi.cloudflareaccess.com"];
      c.egress = { proxy: { url: "http://proxy.example.com", cidrs: ["203.0.113.1/32"], noProxy } };
      c.singleSignOn = { ...SIGN_ON, datahub: { clientId: "datahub", roles: { Admin: ["platform"] } } };
    },
    "singleSignOn.datahub: DataHub's Java knows no proxy, and login.example.com would be asked through it; add it to egress.proxy.noProxy in FILE",
  ],
  [
    (c) => (c.monitoring.paging = { kind: "email", to: "ops@example.com" }),
    "monitoring.paging: needs mail, which is not configured; configure mail in FILE",
  ],
  [(c) => delete c.mlflow.replicas, "mlflow.replicas: missing: expected number; add it to FILE"],
  [
    (c) => (c.postgres.instances = 0),
    "postgres.instances: 0 is not allowed: expected number to be >=1; correct it in FILE",
  ],
  [
    (c) => (c.postgres.instances = "two"),
    `postgres.instances: "two" is not allowed: expected number; correct it in FILE`,
  ],
  [(c) => (c.mlflow.cpu.limit = 0.1), "mlflow.cpu.limit: 0.1 is below request (0.5); raise it in FILE"],
  [(c) => (c.ray.workers.min = 0), "ray.workers.min: 0 is not allowed: expected number to be >=1; correct it in FILE"],
  [(c) => (c.ray.workers.min = 6), "ray.workers.max: 5 is below min (6); raise it in FILE"],
  [(c) => (c.feast.replicas.min = 7), "feast.replicas.max: 6 is below min (7); raise it in FILE"],
  [
    (c) => (c.ray.mode = "swarm"),
    `ray.mode: "swarm" is not allowed: expected 'standalone' | 'kuberay'; correct it in FILE`,
  ],
  [(c) => (c.ray = kuberay({ min: 4, max: 3 })), "ray.serving.workers.max: 3 is below min (4); raise it in FILE"],
  [
    (c) => (c.ray.gpuWorkers = gpuWorkers({ image: "example.com/ray-gpu:2.60.0-py311-cu121" })),
    `ray.gpuWorkers.image: "example.com/ray-gpu:2.60.0-py311-cu121" is for CUDA 12.1: ${K80}; ${NAME_IMAGE} in FILE`,
  ],
  [
    (c) => (c.ray.gpuWorkers = gpuWorkers({ image: "rayproject/ray:2.60.0-py311-gpu" })),
    `ray.gpuWorkers.image: "rayproject/ray:2.60.0-py311-gpu" does not say its CUDA version: ${K80}; ${NAME_IMAGE} in FILE`,
  ],
  [
    (c) => ((c.cluster.nodes["k8s-worker"].gpus.product = "A100"), (c.ray.gpuWorkers = gpuWorkers({}))),
    `ray.gpuWorkers.image: "example.com/ray-gpu:2.60.0-py311-cu117" cannot be checked: A100 is unknown; known are Tesla-K80; ` +
      "add it to stacks/config/gpus.ts or correct it in FILE",
  ],
  [
    (c) => (c.ray.gpuWorkers = gpuWorkers({ gpusPerWorker: 17 })),
    "ray.gpuWorkers.gpusPerWorker: 17 is more than any node has, which is 16; lower it in FILE",
  ],
  [
    (c) => (c.ray.gpuWorkers = gpuWorkers({ gpusPerWorker: 5, max: 4 })),
    "ray.gpuWorkers.max: 4 workers with 5 GPUs each do not fit cluster.nodes, at most 3 do; lower it in FILE",
  ],
  [(c) => (c.ray.gpuWorkers = gpuWorkers({ min: 3 })), "ray.gpuWorkers.max: 2 is below min (3); raise it in FILE"],
  [
    (c) => (delete c.cluster.nodes["k8s-worker"].gpus, (c.ray.gpuWorkers = gpuWorkers({}))),
    "ray.gpuWorkers: no node of cluster.nodes has GPUs; remove it, or add GPUs to a node in FILE",
  ],
  [
    (c) => (c.ray.gpuWorkers = gpuWorkers({ image: "example.com/ray-gpu:2.59.0-py311-cu117" })),
    `ray.gpuWorkers.image: "example.com/ray-gpu:2.59.0-py311-cu117" is not allowed: expected an image of Ray 2.60.0 and ` +
      "Python 3.11, with 2.60.0-py311 in its tag; correct it in FILE",
  ],
  [
    (c) => (c.ray.workerGroups = { large: { ...SIZE, min: 0, max: 1 } }),
    "ray.workerGroups.large.min: 0 is not allowed: expected 1 or more, since only mode kuberay starts the first worker of a " +
      "group on demand; correct it in FILE",
  ],
  [
    (c) => (c.serve.applications.commodity.packages = ["xgboost==3.1.2"]),
    "serve.applications.commodity.packages: come from nowhere; add ray.packageIndex in FILE",
  ],
  [
    (c) => {
      c.ray.packageIndex = { url: "https://pypi.example.com/simple", cidrs: ["203.0.113.0/24"] };
      c.serve.applications.commodity.packages = ["xgboost>=3"];
    },
    'serve.applications.commodity.packages.0: "xgboost>=3" is not allowed: expected a package other than Ray and its exact ' +
      "version, such as xgboost==3.1.2; correct it in FILE",
  ],
  [
    (c) => ((c.serve.applications.commodity.workerGroup = "large"), (c.serve.applications.commodity.training = {})),
    "serve.applications.commodity.workerGroup: large is no group of ray.workerGroups; add it there, or name another in FILE",
  ],
  [
    (c) => {
      c.ray.workerGroups = { large: { ...SIZE, min: 1, max: 1 } };
      c.serve.applications.commodity.workerGroup = "large";
      delete c.serve.applications.commodity.deployments.Predictor.cpu;
    },
    "serve.applications.commodity.deployments.Predictor.cpu: is missing beside workerGroup; add it: they replace what the code " +
      "says as a whole in FILE",
  ],
  [
    (c) => {
      c.ray.faultTolerance = true;
      for (const system of ["redis", "feast", "superset", "serve"]) c[system] = undefined;
    },
    "ray.faultTolerance: needs redis, which is not configured; configure redis, or remove it in FILE",
  ],
  [
    (c) => (c.ray.workerGroups = { gpu: { ...SIZE, min: 1, max: 1 } }),
    "ray.workerGroups.gpu: this name is not allowed: workers, gpu, gpu-workers and headgroup are taken; correct it in FILE",
  ],
  [
    (c) => (c.ray.workerGroups = { large: { ...SIZE, min: 1, max: 1, gpusPerWorker: 1 } }),
    "ray.workerGroups.large.image: is missing: the platform's has no CUDA libraries; name one that has them in FILE",
  ],
  [
    (c) => (c.ray.workerGroups = { v: { ...gpuWorkers({}), nodeSelector: { "kubernetes.io/hostname": "cpu1" } } }),
    "ray.workerGroups.v: no node of cluster.nodes that it selects has GPUs; remove it, or add GPUs to a node in FILE",
  ],
  [
    (c) => {
      c.ray.workerGroups = { large: { ...SIZE, memoryMiB: { request: 8192, limit: 16384 }, min: 1, max: 1 } };
      c.serve.applications.commodity.training.volatility.memoryMiB = 12000;
    },
    "serve.applications.commodity.training.volatility.memoryMiB: 12000 is more than the 11469 MiB beside the object store of a " +
      "worker; lower it, or raise memoryMiB.limit of the workers in FILE",
  ],
  [
    (c) => (c.ray.access = { pods: { portal: { namespace: "data-platform", labels: {} } } }),
    "ray.access.pods.portal.labels: selects every pod; name at least one label in FILE",
  ],
  [
    (c) => (c.ray.access = { pods: { portal: { namespace: "default", labels: { app: "portal" } } } }),
    `ray.access.pods.portal.namespace: "default" is not allowed: expected one of "data-platform"|"monitoring"|"gateway"; correct it in FILE`,
  ],
  [
    (c) => (c.serve.applications.commodity.deployments.Predictor.replicas.min = 9),
    "serve.applications.commodity.deployments.Predictor.replicas.max: 4 is below min (9); raise it in FILE",
  ],
  [
    (c) => (c.serve.applications.commodity.importPath = "commodity.serving"),
    `serve.applications.commodity.importPath: "commodity.serving" is not allowed: expected <module>:<builder>; correct it in FILE`,
  ],
  [
    (c) => (c.serve.applications.commodity.training.volatility.schedule = "daily"),
    `serve.applications.commodity.training.volatility.schedule: "daily" is not allowed: expected five cron fields such as 15 3 * * *; correct it in FILE`,
  ],
  [
    (c) => (c.serve.applications.commodity.training.volatility.cpu = 3),
    "serve.applications.commodity.training.volatility.cpu: 3 is more than the 2 logical CPUs of a worker; lower it, or raise " +
      "cpu.limit of the workers in FILE",
  ],
  [
    (c) => ((c.ray = kuberay({ min: 1, max: 3 })), (c.serve.applications.commodity.deployments.Predictor.cpu = 2.5)),
    "serve.applications.commodity.deployments.Predictor.cpu: 2.5 is more than the 2 logical CPUs of a worker; lower it, or " +
      "raise cpu.limit of the workers in FILE",
  ],
  [
    (c) => (c.serve.applications.commodity.deployments.Predictor.gpus = 1),
    "serve.applications.commodity.deployments.Predictor.gpus: 1 is more than the 0 GPUs of a worker; lower it, or raise " +
      "gpusPerWorker of a group in FILE",
  ],
  [
    (c) => (c.serve.applications.commodity.training.volatility.memoryMiB = 8192),
    "serve.applications.commodity.training.volatility.memoryMiB: 8192 is more than the 5735 MiB beside the object store of a " +
      "worker; lower it, or raise memoryMiB.limit of the workers in FILE",
  ],
  [
    (c) => {
      c.serve.applications.commodity.deployments.Predictor.memoryMiB = 64;
      delete c.serve.applications.commodity.deployments.Predictor.cpu;
    },
    "serve.applications.commodity.deployments.Predictor.cpu: is missing beside gpus or memoryMiB; add it: they replace the " +
      "code's as a whole in FILE",
  ],
  [
    (c) => (c.serve.applications.other = c.serve.applications.commodity),
    "serve.applications: two applications answer under one routePrefix; give each its own in FILE",
  ],
  [
    (c) => delete c.objectStore.kind,
    "objectStore.kind: nothing is not allowed: expected 'minio' | 'seaweedfs' | 'external'; correct it in FILE",
  ],
  [
    (c) => (c.objectStore = { ...OUTSIDE_STORE, region: "garage" }),
    `objectStore.region: "garage" is no region that DolphinScheduler knows, so that tasks' logs end with their pods; give the store one of AWS, such as us-east-1, and name it in FILE`,
  ],
  [(c) => (c.objectStore = "minio"), `objectStore: "minio" is not allowed: expected object; correct it in FILE`],
  [(c) => (c.quota.container.cpu.max = 0.2), "quota.container.cpu.max: 0.2 is below limit (0.5); raise it in FILE"],
  [
    (c) => (c.quota.container.memoryMiB.request = 600),
    "quota.container.memoryMiB.limit: 512 is below request (600); raise it in FILE",
  ],
  [
    (c) => (c.cluster.podCidr = "10.244.0.0"),
    `cluster.podCidr: "10.244.0.0" is not allowed: expected an IPv4 network such as 10.244.0.0/16; correct it in FILE`,
  ],
  [
    (c) => (c.cluster.kubernetesVersion = "v1.34"),
    `cluster.kubernetesVersion: "v1.34" is not allowed: expected a minor version from 1.30, such as 1.34, in quotes; correct it in FILE`,
  ],
  [
    (c) => (c.cluster.apiServer.cidrs = []),
    "cluster.apiServer.cidrs: [] is not allowed: expected array to have >=1 items; correct it in FILE",
  ],
  [(c) => (c.cluster.nodes = {}), "cluster.nodes: names no node; describe at least one in FILE"],
  [
    (c) => (c.cluster.nodes.CPU_1 = c.cluster.nodes.cpu1),
    "cluster.nodes.CPU_1: this name is not allowed: expected lower-case letters, digits and dashes; correct it in FILE",
  ],
  [
    (c) => (c.cluster.nodes.cpu1.reserved.cpu = 104),
    "cluster.nodes.cpu1.reserved.cpu: 104 leaves nothing of the node's 104; lower it in FILE",
  ],
  [
    (c) => (c.storage.className = "Fast SSD"),
    `storage.className: "Fast SSD" is not allowed: expected lower-case letters, digits and dashes; correct it in FILE`,
  ],
  [(c) => (c.kafka.brokers = 2), "kafka.brokers: 2 is not allowed: expected one of 1|3|5; correct it in FILE"],
  [
    (c) => (c.kafka.memoryMiB = { request: 64, limit: 64 }),
    "kafka.memoryMiB.limit: a Kafka node needs at least 1024 MiB; raise it in FILE",
  ],
  [
    (c) => (c.kafka.topics.raw = { partitions: 1, retentionDays: 0, cleanup: "delete" }),
    "kafka.topics.raw.retentionDays: 0 is not allowed: expected number to be >=1; correct it in FILE",
  ],
  [
    (c) => (c.kafka.topics["data-quality"].retentionGiB = 20),
    "kafka.topics: the topics with retentionGiB take up to 58 GiB of each node's 50, and a fifth must stay free for compaction and Kafka's own topics; raise volume.sizeGiB, or lower them in FILE",
  ],
  [
    (c) => (c.kafka.topics.data_quality = c.kafka.topics["data.quality"] = c.kafka.topics["data-lineage"]),
    "kafka.topics.data_quality: Kafka's metrics cannot tell it from data.quality, since they write dots as underscores; rename one in FILE",
  ],
  [
    (c) => (c.kafka.topics["data/quality"] = c.kafka.topics["data-quality"]),
    "kafka.topics.data/quality: this name is not allowed: expected letters, digits, dots, underscores and dashes, as Kafka names topics; correct it in FILE",
  ],
  [
    (c) => (c.kafka.topics["data-quality"].cleanup = "compress"),
    `kafka.topics.data-quality.cleanup: "compress" is not allowed: expected one of "delete"|"compact"|"compact,delete"; correct it in FILE`,
  ],
  [
    (c) => (c.kafka.clients = { portal: { topics: { "audit-user-action": ["Read"] } } }),
    "kafka.clients.portal.topics.audit-user-action: there is no such topic; add it to kafka.topics or correct its name in FILE",
  ],
  [
    (c) => (c.kafka.clients = { trino: { topics: { "*": ["Read"] } } }),
    "kafka.clients.trino: this name is not allowed: a system of the platform uses it; choose another; correct it in FILE",
  ],
  [
    (c) => (c.kafka.clients = { portal: { topics: { "audit-*": ["Create"] } } }),
    `kafka.clients.portal.topics.audit-*.0: "Create" is not allowed: expected one of "Read"|"Write"|"Describe"|"DescribeConfigs"; correct it in FILE`,
  ],
  [
    (c) => (c.protection = { lifted: ["minio"] }),
    `protection.lifted.0: "minio" is not allowed: expected one of ${quoted(DATA_OWNERS)}; correct it in FILE`,
  ],
  [
    (c) => (c.postgres.backups.schedule = "99 99 * * *"),
    `postgres.backups.schedule: "99 99 * * *" names no time: minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-6 (Sunday is 0); correct it in FILE`,
  ],
  [
    (c) => (c.postgres.backups.target = { ...OUTSIDE, bucket: "Backups_UP" }),
    `postgres.backups.target.bucket: "Backups_UP" is not allowed: expected 3 to 63 lower-case letters, digits, dots and dashes, as S3 names buckets; correct it in FILE`,
  ],
  [
    (c) => (c.postgres.backups.target = { ...OUTSIDE, url: "https://s3.example.com/carbon" }),
    `postgres.backups.target.url: "https://s3.example.com/carbon" is not allowed: expected an http or https URL without a path; correct it in FILE`,
  ],
  [
    (c) => (c.postgres.backups.target = { ...OUTSIDE, url: "s3.example.com" }),
    `postgres.backups.target.url: "s3.example.com" is not allowed: expected an http or https URL; correct it in FILE`,
  ],
  [
    (c) => delete c.postgres.backups.target.acknowledges,
    `postgres.backups.target: "object-store" is stored on volumes of the cluster that it protects, since objectStore.kind is "minio"; use an "external" target outside the cluster, or add \`acknowledges: lost-with-the-cluster\` in FILE`,
  ],
  [
    (c) => (c.postgres.backups.target.acknowledges = "yes"),
    `postgres.backups.target.acknowledges: "yes" is not allowed: expected "lost-with-the-cluster"; correct it in FILE`,
  ],
  [
    (c) => (c.postgres.restoreFrom = { archive: "postgres" }),
    `postgres.backups.archive: the server is restored from "postgres" and may not write to it; choose a new archive such as postgres-2 in FILE`,
  ],
  [
    (c) => {
      c.postgres.restoreFrom = { archive: "postgres" };
      delete c.postgres.backups;
    },
    `postgres.restoreFrom: needs postgres.backups, whose target holds "postgres"; configure postgres.backups in FILE`,
  ],
  [
    (c) => {
      c.postgres.backups.archive = "postgres-2";
      c.postgres.restoreFrom = { archive: "postgres", time: "yesterday" };
    },
    `postgres.restoreFrom.time: "yesterday" is not allowed: expected a moment such as "2026-11-20T14:30:00Z", in quotes; correct it in FILE`,
  ],
  [
    (c) => (c.postgres.parameters = { work_mem: ["64MB"] }),
    'postgres.parameters.work_mem: ["64MB"] is not allowed: expected a text, a number, true or false; correct it in FILE',
  ],
  [
    (c) => (c.monitoring.objectives = { predictions: { latency: { milliseconds: 750 } } }),
    "monitoring.objectives.predictions.latency.milliseconds: 750 is not allowed: expected one of 50|100|200|300|400|500|1000|2000|5000; correct it in FILE",
  ],
  [
    (c) => (c.secrets = { required: ["root"] }),
    `secrets.required.0: "root" is not allowed: expected one of ${quoted(Object.keys(SECRET_KEYS))}; correct it in FILE`,
  ],
  [
    (c) => (c.trino.catalogs = { kafka: { properties: { "connector.name": "kafka" } } }),
    "trino.catalogs.kafka: this name is not allowed: the platform has iceberg, postgres, elasticsearch, kafka, and Trino has system; correct it in FILE",
  ],
  [
    (c) => (c.trino.catalogs = { a: { properties: { "connector.name": "mysql", "connection-password": "x" } } }),
    "trino.catalogs.a.properties.connection-password: it may be a credential: list its name under secrets, and set carbon:trinoCatalogPassword in FILE",
  ],
];

describe("a bad config", () => {
  for (const [spoil, line] of FAULTS) {
    it(`gets its key, value, what is allowed and the next step: ${line.split(":")[0] ?? ""}`, () => {
      assert.deepEqual(faultsOf(prod(spoil)), [line.replace("FILE", "Pulumi.prod.yaml")]);
    });
  }

  it("gets every fault at once", () => {
    const spoils = [FAULTS[0], FAULTS[3], FAULTS[6], FAULTS[9]].map((fault) => fault?.[0]);
    assert.equal(
      faultsOf(
        prod((c) => {
          for (const spoil of spoils) spoil?.(c);
        }),
      ).length,
      4,
    );
  });

  it("is no fault of the program: Pulumi shows it without a stack trace", () => {
    assert.throws(
      () => parseConfig({}, "Pulumi.prod.yaml"),
      (error: Error) => pulumi.RunError.isInstance(error),
    );
  });

  it("that is missing altogether names the file to write", async () => {
    await mockEngine();
    assert.throws(() => loadConfig(), /carbon:platform: missing: expected object; add it to Pulumi\.test\.yaml/);
  });
});

describe("a good config", () => {
  it("may have GPU workers, in both modes, as many as the cards serve", () => {
    assert.deepEqual(faultsOf(prod((c) => (c.ray.gpuWorkers = gpuWorkers({ gpusPerWorker: 2, max: 8 })))), []);
    const operated = { ...kuberay({ min: 1, max: 2 }), gpuWorkers: gpuWorkers({ max: 16 }) };
    assert.deepEqual(faultsOf(prod((c) => (c.ray = operated))), []);
  });

  it("may have groups of workers, each for what only it can hold, and by KubeRay from zero", () => {
    const vision = { ...gpuWorkers({ min: 0 }), nodeSelector: { "kubernetes.io/hostname": "k8s-worker" } };
    const large = { ...SIZE, cpu: { request: 4, limit: 16 }, min: 0, max: 1 };
    const asked = { schedule: "0 3 * * *", command: ["x"] };
    const config = prod((c) => {
      c.ray = { ...kuberay({ min: 1, max: 2 }), workerGroups: { large, vision }, gpuWorkers: gpuWorkers({ min: 0 }) };
      c.ray.serving.workerGroups = { vision };
      c.serve.applications.commodity.deployments.Predictor.gpus = 1;
      c.serve.applications.commodity.training = { large: { ...asked, cpu: 16 }, vision: { ...asked, cpu: 1, gpus: 1 } };
    });
    assert.deepEqual(faultsOf(config), []);
  });

  it("may share a bucket among tenants, but no database, schema, login or index", () => {
    const shared = { bucket: "prices", access: "write" };
    const mine = { catalog: "iceberg", schema: "mine" };
    const spoil = (pricing: unknown[], risk: unknown[]) =>
      faultsOf(prod((c) => (c.tenants = { pricing: tenant(...pricing), "pricing-risk": tenant(...risk) })));
    assert.deepEqual(spoil([shared], [shared]), []);
    assert.deepEqual(
      spoil(
        [{ database: "pricing" }, { search: "pricing-*" }, { bucket: "a.b", access: "read" }, mine],
        [{ database: "pricing" }, { search: "pricing-risk-*" }, { bucket: "a-b", access: "read" }, mine],
      ),
      [
        "tenants.pricing.uses.0.database: pricing is pricing-risk's as well, and a database has one owner; choose another in Pulumi.prod.yaml",
        "tenants.pricing.uses.1.search: pricing-* meets pricing-risk-* of pricing-risk; choose names that begin otherwise in Pulumi.prod.yaml",
        "tenants.pricing.uses.3.catalog: mine is pricing-risk's as well, and a schema has one owner; choose another in Pulumi.prod.yaml",
        "tenants.pricing-risk.uses.0.database: pricing is pricing's as well, and a database has one owner; choose another in Pulumi.prod.yaml",
        "tenants.pricing-risk.uses.1.search: pricing-risk-* meets pricing-* of pricing; choose names that begin otherwise in Pulumi.prod.yaml",
        "tenants.pricing-risk.uses.3.catalog: mine is pricing's as well, and a schema has one owner; choose another in Pulumi.prod.yaml",
      ],
    );
    const twice = [
      { bucket: "a.b", access: "read" },
      { bucket: "a-b", access: "read" },
    ];
    assert.equal(
      spoil(twice, [])[0],
      "tenants.pricing.uses.0.bucket: a.b and a-b get one login, tenant-pricing-bucket-a-b; keep one, or rename one in Pulumi.prod.yaml",
    );
  });

  it("may back up to the object store without a word where that lies outside the cluster", () => {
    const spoil: Spoil = (c) => {
      const { setup } = c.objectStore;
      c.objectStore = {
        kind: "external",
        url: "https://s3.example.com",
        cidrs: ["203.0.113.0/24"],
        region: "eu-west-1",
        setup,
      };
      delete c.postgres.backups.target.acknowledges;
    };
    assert.deepEqual(faultsOf(prod(spoil)), []);
  });

  it("is read from the stack's carbon:platform", async () => {
    const value = readStackFile("prod")["carbon:platform"];
    await mockEngine({}, { "carbon:platform": JSON.stringify(value) });
    assert.deepEqual(loadConfig(), parseConfig(value, "Pulumi.prod.yaml"));
  });

  it("may be what docs/ray.md shows", () => {
    const blocks = [...read("docs/ray.md").matchAll(/```yaml\n([^]*?)```/g)].map(([, text = ""]) => parse(text));
    assert.equal(blocks.length, 7);
    const shown = Object.assign({}, ...blocks.map(({ ray }) => ray)) as object;
    const applications = blocks.flatMap(({ serve }) => Object.entries(serve?.applications ?? {}));
    const config = prod((c) => {
      c.ray = shown;
      c.objectStore = OUTSIDE_STORE;
      for (const [app, parts] of applications) Object.assign(c.serve.applications[app], parts);
    });
    assert.deepEqual(faultsOf(config), []);
  });

  it("may have the catalogs that docs/trino.md shows", () => {
    const [shown] = [...read("docs/trino.md").matchAll(/```yaml\n([^]*?)```/g)].map(([, text = ""]) => parse(text));
    assert.deepEqual(faultsOf(prod((c) => (c.trino.catalogs = shown.trino.catalogs))), []);
  });

  it("may have the topics and clients that docs/kafka.md shows", () => {
    const blocks = [...read("docs/kafka.md").matchAll(/```yaml\n(kafka:[^]*?)```/g)].map(([, text = ""]) =>
      parse(text),
    );
    assert.equal(blocks.length, 2);
    const [{ topics }, { clients }] = blocks.map(({ kafka }) => kafka);
    assert.deepEqual(
      faultsOf(prod((c) => ((c.kafka.topics = { ...c.kafka.topics, ...topics }), (c.kafka.clients = clients)))),
      [],
    );
  });

  it("may have the single sign-on that docs/sign-on.md shows", () => {
    const [, text = ""] = /```yaml\n([^]*?)```/.exec(read("docs/sign-on.md")) ?? [];
    assert.deepEqual(faultsOf(prod((c) => Object.assign(c, parse(text)))), []);
  });

  it("may have every schedule that a clock can follow, and no other", () => {
    const faults = (schedule: string) => faultsOf(prod((c) => (c.postgres.backups.schedule = schedule))).length;
    for (const good of ["0 0 1 1 0", "59 23 31 12 6", "*/15 8-18/2 1,15 JAN-mar mon,WED-FRI", "? 05 ? * ?"]) {
      assert.equal(faults(good), 0, good);
    }
    for (const bad of [
      "60 0 * * *",
      "0 24 * * *",
      "0 0 0 * *",
      "0 0 32 * *",
      "0 0 * 13 *",
      "0 0 * * 7",
      "*/0 * * * *",
    ]) {
      assert.equal(faults(bad), 1, bad);
    }
    for (const bad of [
      "0 0 * *",
      "0 0 * * * *",
      "0 0 * foo *",
      "1- * * * *",
      "5-1 * * * *",
      "*-5 * * * *",
      "x * * * *",
      "1//2 * * * *",
      "@daily",
    ])
      assert.equal(faults(bad), 1, bad);
  });

  it("may have a store in any region where no DolphinScheduler keeps logs in it", () => {
    const config = prod((c) => {
      c.objectStore = { ...OUTSIDE_STORE, region: "garage" };
      delete c.dolphinscheduler;
    });
    assert.doesNotThrow(() => parseConfig(config, "Pulumi.prod.yaml"));
  });

  it("may scale Ray down to one worker", () => {
    assert.deepEqual(faultsOf(prod((c) => (c.ray.workers.min = 1))), []);
    assert.deepEqual(faultsOf(prod((c) => (c.ray.workers = { ...c.ray.workers, min: 1, max: 1 }))), []);
  });
});

function prod(spoil: Spoil): unknown {
  const config = structuredClone(readStackFile("prod")["carbon:platform"]);
  spoil(config);
  return config;
}

function faultsOf(config: unknown): string[] {
  try {
    parseConfig(config, "Pulumi.prod.yaml");
  } catch (error) {
    return (error as Error).message.split("\n  ").slice(1);
  }
  return [];
}

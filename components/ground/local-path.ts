import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { connect } from "../base/connect";
import { deployment } from "../base/deployment";
import { type ApiServer, podsNamed } from "../base/endpoint";
import { configFiles } from "../base/files";
import { grant } from "../base/grant";
import { API_TOKEN_DIRECTORY, apiToken, container, podTemplate, resources, serviceAccount } from "../base/pod";
import { everywhere, type PodSettings } from "../base/pod-settings";
import { images } from "../base/versions";

const NAME = "local-path-provisioner";
const UID = 65532;
const CONFIG = "/etc/config";
// Of the provisioner, and of each pod that it has make a directory.
const SIZE = { cpu: { request: 0.02, limit: 0.2 }, memoryMiB: { request: 32, limit: 128 } };

/** Inputs of {@link LocalPath}. */
export interface LocalPathArgs {
  /** Namespace of every object made here; it must exist, and admit pods that mount directories of their node. */
  readonly namespace: pulumi.Input<string>;
  /** Name of the StorageClass. */
  readonly className: string;
  /** Directory of each node in which volumes are made. */
  readonly directory: string;
  readonly kubeApi: ApiServer;
  /** What the stack says of pods, for those that make directories. */
  readonly settings: PodSettings;
}

/**
 * Rancher's local-path-provisioner, whose volumes are directories of the node where their first pod runs, and its StorageClass.
 * Pods of the provisioner make the directories; nobody removes one, since the class retains volumes.
 */
export class LocalPath extends pulumi.ComponentResource {
  /** Resolves once claims are served. */
  readonly ready: pulumi.Output<string>;

  constructor(name: string, args: LocalPathArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:LocalPath", name, {}, opts);
    const { namespace, className, directory, kubeApi, settings } = args;
    const parent = { parent: this };
    const pods = podsNamed(NAME, namespace);

    const storageClass = new k8s.storage.v1.StorageClass(
      className,
      {
        // The kubelet neither measures `hostPath` volumes nor hands them to the group of a pod.
        metadata: { name: className, annotations: { defaultVolumeType: "local" } },
        provisioner: "rancher.io/local-path",
        reclaimPolicy: "Retain",
        volumeBindingMode: "WaitForFirstConsumer",
        allowVolumeExpansion: false,
      },
      parent,
    );
    const config = configFiles(NAME, { namespace, files: configuration(directory, settings) }, parent);
    const account = serviceAccount(pods, parent);
    const subjects = [{ kind: "ServiceAccount", name: NAME, namespace }];
    const rights = [
      ...grant(this, NAME, namespace, subjects, [
        { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "create", "delete"] },
        { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
        { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list"] },
      ]),
      new k8s.rbac.v1.ClusterRole(NAME, { metadata: { name: NAME }, rules: CLUSTER_WIDE }, parent),
      new k8s.rbac.v1.ClusterRoleBinding(
        NAME,
        {
          metadata: { name: NAME },
          roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: NAME },
          subjects,
        },
        parent,
      ),
    ];
    const template = podTemplate(pods, {
      containers: [
        container(NAME, {
          image: images.localPathProvisioner,
          size: SIZE,
          command: ["local-path-provisioner", "start", "--config", `${CONFIG}/config.json`],
          args: ["--namespace", namespace, "--service-account-name", NAME, "--configmap-name", NAME],
          env: { CONFIG_MOUNT_PATH: CONFIG, HEALTH_PORT: `${PORT}` },
          ports: { health: PORT },
          probe: {
            kind: "http",
            path: "/ready",
            port: "health",
            // Readiness asks the API server as well, which no restart brings back.
            liveness: { kind: "http", path: "/health", port: "health" },
          },
          readOnlyMounts: { [CONFIG]: "config", [API_TOKEN_DIRECTORY]: "token" },
        }),
      ],
      uid: UID,
      priorityClass: "critical-services",
      files: { config },
      volumes: [apiToken("token")],
    });
    const provisioner = deployment(
      pods,
      { replicas: 1, template },
      {
        parent: this,
        dependsOn: [config.resource, account, ...rights, ...connect(this, { from: pods, talksTo: [kubeApi] })],
      },
    );
    this.ready = pulumi.all([storageClass.id, provisioner.id]).apply(([id]) => id);
    this.registerOutputs();
  }
}

const PORT = 8080;

// Nodes and volumes have no namespace, and claims are in any.
const CLUSTER_WIDE = [
  { apiGroups: [""], resources: ["nodes", "persistentvolumeclaims"], verbs: ["get", "list", "watch"] },
  {
    apiGroups: [""],
    resources: ["persistentvolumes"],
    verbs: ["get", "list", "watch", "create", "patch", "update", "delete"],
  },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
  { apiGroups: ["storage.k8s.io"], resources: ["storageclasses"], verbs: ["get", "list", "watch"] },
];

// It runs on the node of the pod that has the claim, whatever taints that has.
const HELPER = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "helper-pod" },
  spec: {
    priorityClassName: "critical-services",
    automountServiceAccountToken: false,
    tolerations: [{ operator: "Exists" }],
    containers: [{ name: "helper-pod", image: images.busybox, resources: resources(SIZE) }],
  },
};

/** Its files: where volumes lie, what makes and removes one, and the pod that runs these. */
function configuration(directory: string, settings: PodSettings): Record<string, string> {
  return {
    "config.json": JSON.stringify({
      nodePathMap: [{ node: "DEFAULT_PATH_FOR_NON_LISTED_NODES", paths: [directory] }],
    }),
    // Any user of a pod may write to its volume; no user of the node gets as far as there.
    setup: ["set -eu", 'chmod 0700 "$(dirname "$VOL_DIR")"', 'mkdir -m 0777 -p "$VOL_DIR"'].join("\n"),
    teardown: ["set -eu", 'rm -rf "$VOL_DIR"'].join("\n"),
    "helperPod.yaml": stringify(everywhere(HELPER, settings)),
  };
}

import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { CoreV1Api, Health, KubeConfig } from "@kubernetes/client-node";
import * as yaml from "yaml";
import { Component } from "./component";
import type { Guardian } from "./guardian";

/** File with the address and the login of the API server, in the cluster's directory. */
export const KUBECONFIG = "kubeconfig";

/** What a control plane is called, and whom it serves. */
export interface ControlPlaneSpec {
  readonly name: string;
  readonly context: string;
  /** The node that it serves, in a network of their own. @default none: simulated nodes */
  readonly node?: ServedNode;
}

/** A real node beside the control plane. */
export interface ServedNode {
  /** Where the API server listens: an address of the node's, since pods ask it. */
  readonly address: string;
  readonly port: number;
  readonly podCidr: string;
  /** Further lines of the file of tokens. */
  readonly logins: readonly string[];
  /** The certificate with which the API server asks the kubelet, and its key. */
  readonly client: { readonly certificate: string; readonly key: string };
}

/** Starts etcd and the components of Kubernetes in the guardian's directory. */
export async function startControlPlane(guardian: Guardian, spec: ControlPlaneSpec): Promise<KubeConfig> {
  const { node } = spec;
  const file = (name: string): string => path.join(guardian.directory, name);
  const token = crypto.randomBytes(32).toString("hex");
  const { privateKey } = crypto.generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const logins = [`${token},rehearsal,rehearsal,system:masters`, ...(node?.logins ?? []), ""];
  fs.writeFileSync(file("tokens.csv"), logins.join("\n"), { mode: 0o600 });
  fs.writeFileSync(file("service-account.key"), privateKey, { mode: 0o600 });

  // Unix sockets in a directory that is ours alone: etcd knows no login here. The paths are relative, since a socket's is
  // limited to about 100 characters.
  await guardian.run("etcd", [
    "--name=rehearsal",
    "--data-dir=etcd",
    "--listen-client-urls=unix://etcd.sock",
    "--advertise-client-urls=unix://etcd.sock",
    "--listen-peer-urls=unix://etcd-peer.sock",
    "--initial-advertise-peer-urls=unix://etcd-peer.sock",
    "--initial-cluster=rehearsal=unix://etcd-peer.sock",
    "--unsafe-no-fsync", // nothing here outlives a crash of the machine
    "--log-level=warn",
  ]);
  const kubeconfig = await startApiServer(guardian, { ...spec, token });

  // Port 0: they serve nothing, neither metrics nor health, so nothing has to be kept from others.
  const client = [`--kubeconfig=${KUBECONFIG}`, "--secure-port=0", "--leader-elect=false"];
  const manager = await Component.start(guardian, "kube-controller-manager", () =>
    Promise.resolve([
      ...client,
      "--service-account-private-key-file=service-account.key",
      "--root-ca-file=pki/apiserver.crt",
      "--kube-api-qps=200", // the default of 20 would hold up some 800 objects
      "--kube-api-burst=400",
      // KWOK creates what a Stage applies before it patches it, and a quota counts what was refused as a double until the next sync.
      "--resource-quota-sync-period=2s",
      ...(node ? ["--allocate-node-cidrs", `--cluster-cidr=${node.podCidr}`] : []),
    ]),
  );
  await guardian.run("kube-scheduler", client);
  const core = kubeconfig.makeApiClient(CoreV1Api);
  await manager.until(() => core.readNamespacedServiceAccount({ namespace: "default", name: "default" }));
  return kubeconfig;
}

/** A login to the API server. */
interface Login extends ControlPlaneSpec {
  readonly token: string;
}

/**
 * Starts the API server on a free port. Between our look and its start another process may take the port: the server then
 * dies and gets another one. Whoever answers there meanwhile is not taken for ours, which alone has the key of the
 * certificate that it made for itself.
 */
async function startApiServer(guardian: Guardian, login: Login): Promise<KubeConfig> {
  let port = 0;
  const { node } = login;
  const address = node?.address ?? "127.0.0.1";
  const server = await Component.start(guardian, "kube-apiserver", async () => {
    port = node?.port ?? (await freePort());
    return [
      "--etcd-servers=unix://etcd.sock",
      `--bind-address=${address}`,
      `--advertise-address=${address}`,
      `--secure-port=${port}`,
      "--cert-dir=pki",
      "--token-auth-file=tokens.csv",
      `--authorization-mode=${node ? "Node,RBAC" : "RBAC"}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      "--service-account-key-file=service-account.key",
      "--service-account-signing-key-file=service-account.key",
      "--service-cluster-ip-range=10.96.0.0/16",
      "--allow-privileged=true", // as the kubelet's hosts do; Pod Security decides
      ...(node ? forNode(node) : FOR_SIMULATED_NODES),
    ];
  });
  const kubeconfig = new KubeConfig();
  await server.until(async () => {
    kubeconfig.loadFromFile(writeKubeconfig(guardian.directory, `https://${address}:${port}`, login));
    await kubeconfig.makeApiClient(CoreV1Api).readNamespace({ name: "kube-system" });
    return new Health(kubeconfig).readyz({});
  });
  return kubeconfig;
}

const FOR_SIMULATED_NODES = [
  "--endpoint-reconciler-type=none", // the Service "kubernetes" would point pods at this machine
  // No webhook has anybody behind it; all other admission is as the API server's defaults have it.
  "--disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
];

function forNode({ client }: ServedNode): string[] {
  return [
    "--enable-admission-plugins=NodeRestriction",
    "--kubelet-preferred-address-types=InternalIP",
    `--kubelet-client-certificate=${client.certificate}`,
    `--kubelet-client-key=${client.key}`,
    // With the same one, which signed itself, it asks servers of further APIs, such as metrics-server.
    `--proxy-client-cert-file=${client.certificate}`,
    `--proxy-client-key-file=${client.key}`,
    `--requestheader-client-ca-file=${client.certificate}`,
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
  ];
}

function writeKubeconfig(directory: string, server: string, { name, context, token }: Login): string {
  const file = path.join(directory, KUBECONFIG);
  const certificate = fs.readFileSync(path.join(directory, "pki/apiserver.crt"), "base64");
  const config = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": context },
    clusters: [{ name, cluster: { server, "certificate-authority-data": certificate } }],
    users: [{ name, user: { token } }],
    contexts: [{ name: context, context: { cluster: name, user: name } }],
  };
  fs.writeFileSync(file, yaml.stringify(config), { mode: 0o600 });
  return file;
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

import * as fs from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { KubeConfig, type KubernetesObject, KubernetesObjectApi } from "@kubernetes/client-node";
import type { Manifest } from "../../../rehearsal/operators/operator";
import type { DeclaredRelease } from "../../../rehearsal/program/charts";
import { freePort } from "../../../rehearsal/simulation/cluster/control-plane";
import { renderRelease } from "../../../rehearsal/simulation/helm-template";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import { versions } from "../../../rehearsal/simulation/toolchain";
import type { Built } from "./build";
import type { Pushed } from "./ztunnel";

const READY_SECONDS = 120;
const NAMESPACE = "istio-system";
const ACCOUNT = "istiod";
// Its Deployment, Service and account are the stand-in's, and no API server finds the way to its webhooks.
const TAKEN = ["ConfigMap", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

interface Deployment extends Manifest {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly {
          readonly args: readonly string[];
          readonly env: readonly { readonly name: string; readonly value?: string }[];
        }[];
      };
    };
  };
}

/** The real istiod beside a rehearsal: with the arguments, environment, mesh config and rights that its chart makes of our values. */
export class Istiod {
  private constructor(
    private readonly rehearsal: Rehearsal,
    private readonly debug: number,
    private readonly webhooks: number,
  ) {}

  /** Starts it under the account of the release, and waits until it has seen all that there is. */
  static async start(rehearsal: Rehearsal, { binary, charts }: Built, release: DeclaredRelease): Promise<Istiod> {
    const { cluster, helm, api } = rehearsal;
    const renderer = { helm, charts, kubernetesVersion: versions.kubernetes, apiVersions: [] };
    const rendered = await renderRelease({ ...release, chart: "istio-discovery" }, renderer);
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(cluster.kubeconfig);
    const objects = KubernetesObjectApi.makeApiClient(kubeconfig);
    for (const object of rendered.filter(({ kind }) => TAKEN.includes(kind))) {
      await objects.create(object as KubernetesObject);
    }
    const token = { spec: { audiences: ["https://kubernetes.default.svc"], expirationSeconds: 3600 } };
    const account = { namespace: NAMESPACE, name: ACCOUNT, body: token };
    const { status } = await api.core.createNamespacedServiceAccountToken(account);
    const login = path.join(cluster.directory, "istiod.kubeconfig");
    const own = fs.readFileSync(cluster.kubeconfig, "utf8");
    fs.writeFileSync(login, own.replace(/token: .*/, `token: ${status?.token}`), { mode: 0o600 });
    const deployment = (rendered as Deployment[]).find(({ kind }) => kind === "Deployment");
    const { args = [], env = [] } = deployment?.spec.template.spec.containers[0] ?? {};
    const [debug, webhooks, ...others] = await Promise.all(Array.from({ length: 6 }, freePort));
    const here = (port: number | undefined): string => `127.0.0.1:${port}`;
    await cluster.run(
      "istiod",
      [
        ...args,
        `--httpAddr=${here(debug)}`,
        `--httpsAddr=${here(webhooks)}`,
        `--monitoringAddr=${here(others[0])}`,
        `--grpcAddr=${here(others[1])}`,
        `--secureGRPCAddr=${here(others[2])}`,
        `--ctrlz_port=${others[3]}`,
        `--kubeconfig=${login}`,
      ],
      {
        file: binary,
        env: {
          ...Object.fromEntries(env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]]))),
          POD_NAME: "istiod-0",
          POD_NAMESPACE: NAMESPACE,
          SERVICE_ACCOUNT: ACCOUNT,
          KUBECONFIG: login,
        },
      },
    );
    const istiod = new Istiod(rehearsal, debug ?? 0, webhooks ?? 0);
    await istiod.ready();
    return istiod;
  }

  private async ready(): Promise<void> {
    const deadline = Date.now() + READY_SECONDS * 1000;
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${this.debug}/ready`).catch(() => undefined);
      if (answer?.ok) return;
      if (Date.now() > deadline) throw new Error(`istiod is not ready after ${READY_SECONDS} s:\n${this.log()}`);
      await sleep(500);
    }
  }

  /** All that it has said. */
  log(): string {
    return fs.readFileSync(path.join(this.rehearsal.cluster.directory, "istiod.log"), "utf8");
  }

  /** What it has for ztunnels, of which each asks for all policies and for whatever pods it needs: its debug page asks the same functions. */
  async pushed(): Promise<Pushed> {
    const answer = await fetch(`http://127.0.0.1:${this.debug}/debug/ambientz`);
    return (await answer.json()) as Pushed;
  }

  /** What its webhook has to say against an object, warnings included. */
  async complaints(object: Manifest): Promise<string[]> {
    const { core } = this.rehearsal.api;
    const secret = await core.readNamespacedSecret({ name: "istio-ca-secret", namespace: NAMESPACE });
    const [group, version] = object.apiVersion.split("/");
    const kind = { group, version, kind: object.kind };
    const request = { uid: "1", kind, operation: "CREATE", object };
    const asked = https.request({
      method: "POST",
      host: "127.0.0.1",
      port: this.webhooks,
      path: "/validate",
      agent: false, // whose connections would outlive istiod
      servername: `istiod.${NAMESPACE}.svc`,
      ca: Buffer.from(secret.data?.["ca-cert.pem"] ?? "", "base64"),
      headers: { "content-type": "application/json" },
    });
    asked.end(JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request }));
    const answer = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
      asked.once("response", resolve).once("error", reject);
    });
    const { response } = JSON.parse(await text(answer)) as { response: Verdict };
    return [...(response.allowed ? [] : [response.status?.message ?? "refused"]), ...(response.warnings ?? [])];
  }
}

interface Verdict {
  readonly allowed: boolean;
  readonly status?: { readonly message: string };
  readonly warnings?: readonly string[];
}

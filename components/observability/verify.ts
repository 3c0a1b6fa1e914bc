import * as fs from "node:fs";
import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { observe } from "../base/connect";
import { type Endpoint, podsNamed, url } from "../base/endpoint";
import { container, type ContainerSize, podTemplate, serviceAccount } from "../base/pod";
import type { EnvSecret } from "../base/secret";

const UID = 1000;
// Questions run in parallel with three tries of 20 s each; the rest is for the image pull.
const DEADLINE_SECONDS = 300;
// Long enough to read its log if the command that created it was killed.
const KEPT_SECONDS = 600;

/** The endpoints to ask over HTTP. */
export interface VerifyQuestions {
  readonly mlflow?: Endpoint<"http">;
  readonly feast?: Endpoint<"http">;
  /** Ray's dashboard, and its token as RAY_AUTH_TOKEN. */
  readonly ray?: { readonly dashboard: Endpoint<"http">; readonly auth: EnvSecret };
  /** A prediction: the JSON of `body`, posted to `path`. */
  readonly serve?: { readonly endpoint: Endpoint<"http">; readonly path: string; readonly body: object };
  readonly prometheus?: Endpoint<"http">;
}

/** Inputs of {@link Verify}. */
export interface VerifyArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Any image with Python 3.10 or later as `python`. */
  readonly image: string;
  readonly asks: VerifyQuestions;
  readonly size: ContainerSize;
}

/**
 * The part of `npm run verify` inside the cluster: a suspended CronJob, the template of the Job that the command creates. Its pods
 * have no rights except their wires, and nothing waits for it.
 */
export class Verify extends pulumi.ComponentResource {
  constructor(name: string, args: VerifyArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:observability:Verify", name, {}, opts);
    const { namespace, image, asks, size } = args;
    const pods = podsNamed(name, namespace);

    const secretEnv = asks.ray ? [asks.ray.auth] : [];
    const account = serviceAccount(pods, { parent: this });
    const wires = endpointsOf(asks).flatMap((endpoint) => observe(this, pods, endpoint));
    const template = podTemplate(pods, {
      containers: [
        container(name, {
          image,
          size,
          command: ["python", "-c", SCRIPT],
          env: environment(asks),
          secretEnv,
        }),
      ],
      uid: UID,
      priorityClass: "low-priority-batch",
      secretEnv,
      restartPolicy: "Never",
    });
    new k8s.batch.v1.CronJob(
      name,
      {
        metadata: { name, namespace, labels: pods.matchLabels },
        spec: {
          suspend: true,
          schedule: "@yearly",
          jobTemplate: {
            spec: {
              backoffLimit: 0,
              activeDeadlineSeconds: DEADLINE_SECONDS,
              ttlSecondsAfterFinished: KEPT_SECONDS,
              template,
            },
          },
        },
      },
      { parent: this, dependsOn: [account, ...secretEnv.map(({ resource }) => resource), ...wires] },
    );
    this.registerOutputs();
  }
}

const SCRIPT = fs.readFileSync(path.join(__dirname, "verify.py"), "utf8");

function endpointsOf({ mlflow, feast, ray, serve, prometheus }: VerifyQuestions): Endpoint[] {
  return [mlflow, feast, ray?.dashboard, serve?.endpoint, prometheus].filter((one) => one !== undefined);
}

function environment({ mlflow, feast, ray, serve, prometheus }: VerifyQuestions): Record<string, pulumi.Input<string>> {
  return {
    ...(mlflow && { MLFLOW_URL: url(mlflow) }),
    ...(feast && { FEAST_URL: url(feast) }),
    ...(ray && { RAY_URL: url(ray.dashboard) }),
    ...(serve && { SERVE_URL: url(serve.endpoint, serve.path), SERVE_BODY: JSON.stringify(serve.body) }),
    ...(prometheus && { PROMETHEUS_URL: url(prometheus) }),
  };
}

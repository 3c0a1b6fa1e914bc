import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type Endpoint, url } from "../base/endpoint";
import type { ContainerSize } from "../base/pod";
import { ScheduledJob } from "../base/scheduled-job";
import type { EnvSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";

const RAY_UID = 1000;
const SCRIPT = fs.readFileSync(path.join(__dirname, "serve-deploy.py"), "utf8");
// Replicas may wait for a worker and its image pull.
const DEPLOY_SECONDS = 600;

/** Inputs of {@link ServeDeployment}. */
export interface ServeDeploymentArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Ray Serve's config, as JSON. */
  readonly config: pulumi.Output<string>;
  readonly dashboard: Endpoint<"http">;
  /** The dashboard's token, as RAY_AUTH_TOKEN. */
  readonly auth: EnvSecret;
  readonly size: ContainerSize;
}

/** Serve applications on a standalone Ray cluster, deployed when they change and when a restarted head has lost them. */
export class ServeDeployment extends pulumi.ComponentResource {
  constructor(name: string, args: ServeDeploymentArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ml:ServeDeployment", name, {}, opts);
    const { namespace, config, dashboard, auth, size } = args;

    const shared = {
      namespace,
      image: images.ray,
      size,
      uid: RAY_UID,
      env: {
        HOME: "/tmp",
        RAY_DASHBOARD: url(dashboard),
        SERVE_CONFIG: config,
        // Shorter than the Job's deadline, so that its log has Ray's message.
        TIMEOUT_SECONDS: `${DEPLOY_SECONDS - 60}`,
      },
      secretEnv: [auth],
      talksTo: [dashboard],
      timeoutSeconds: DEPLOY_SECONDS,
    };
    // First, since it would redeploy removed applications with the previous config.
    const restore = new ScheduledJob(
      `${name}-restore`,
      { ...shared, command: ["python", "-c", SCRIPT, "--if-lost"], schedule: "*/2 * * * *" },
      { parent: this },
    );
    new SetupJob(name, { ...shared, command: ["python", "-c", SCRIPT] }, { parent: this, dependsOn: restore });
    this.registerOutputs();
  }
}

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
// Replicas may wait for a worker, whose image may have to be pulled first.
const DEPLOY_SECONDS = 600;

/** Inputs of {@link ServeDeployment}. */
export interface ServeDeploymentArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Ray Serve's config, as JSON. */
  readonly config: pulumi.Output<string>;
  readonly dashboard: Endpoint<"http">;
  /** The token that the dashboard demands, as RAY_AUTH_TOKEN. */
  readonly auth: EnvSecret;
  readonly size: ContainerSize;
}

/** Serve applications on a Ray cluster without an operator: deployed when they change, and again when a head has lost them. */
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
        // Before the Job's own time is over, so that Ray's words stand in its log.
        TIMEOUT_SECONDS: `${DEPLOY_SECONDS - 60}`,
      },
      secretEnv: [auth],
      talksTo: [dashboard],
      timeoutSeconds: DEPLOY_SECONDS,
    };
    // First: with the config before it would bring back an application that is no longer in this one.
    const restore = new ScheduledJob(
      `${name}-restore`,
      { ...shared, command: ["python", "-c", SCRIPT, "--if-lost"], schedule: "*/2 * * * *" },
      { parent: this, dependsOn: [...dashboard.ready] },
    );
    new SetupJob(
      name,
      { ...shared, command: ["python", "-c", SCRIPT] },
      { parent: this, dependsOn: [...dashboard.ready, restore] },
    );
    this.registerOutputs();
  }
}

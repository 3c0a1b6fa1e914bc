import * as pulumi from "@pulumi/pulumi";
import { mountBindings } from "../base/bindings";
import { connect, type Destination } from "../base/connect";
import { podsNamed } from "../base/endpoint";
import { GPU_NODES, GPU_TOLERATIONS, withGpus } from "../base/gpus";
import type { SecretLocation } from "../base/offer";
import { container, type ContainerSize, podTemplate, serviceAccount } from "../base/pod";
import { envSecret } from "../base/secret";
import { service } from "../base/service";
import { statefulSet } from "../base/stateful-pod";
import { images } from "../base/versions";
import type { Volume } from "../base/volume";

const PORT = 8888;
// The user of the image.
const NOTEBOOK_UID = 1000;
const HOME = "/home/notebook";
const OUTPUTS = "platform-outputs";

/** Inputs of {@link Notebook}. */
export interface NotebookArgs {
  /** The tenant's namespace. */
  readonly namespace: pulumi.Input<string>;
  /** @default the platform's */
  readonly image?: string | undefined;
  readonly size: ContainerSize;
  /** @default none */
  readonly gpus?: number | undefined;
  /** The home directory, where notebooks are kept. */
  readonly volume: Volume;
  /** What opens it; without it anybody who reaches it could run code with the tenant's logins. */
  readonly token: pulumi.Output<string>;
  /** The Secrets of the tenant's grants, which notebooks find mounted. */
  readonly bindings: readonly string[];
  /** Variables with which the libraries of notebooks log in there. */
  readonly clientEnv: Readonly<Record<string, pulumi.Input<string>>>;
  /** What the grants lead to. */
  readonly talksTo: readonly Destination[];
  /** Refuses to delete or replace it. */
  readonly protect: boolean;
}

/** JupyterLab in a tenant's namespace, logged in to what the tenant was granted. Its members reach it by port forwarding. */
export class Notebook extends pulumi.ComponentResource {
  /** The Secret with the token, key `JUPYTER_TOKEN`. */
  readonly login: SecretLocation;

  constructor(name: string, args: NotebookArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ml:Notebook", name, {}, opts);
    const { namespace, image = images.notebook, size, gpus = 0, volume, protect } = args;
    const pods = podsNamed(name, namespace);
    const login = envSecret(
      name,
      { namespace, name: "notebook", data: { JUPYTER_TOKEN: args.token, ...args.clientEnv } },
      { parent: this },
    );
    this.login = { namespace, name: login.name };
    const account = serviceAccount(pods, { parent: this });
    const wires = connect(this, { from: pods, talksTo: args.talksTo });
    const entry = service(name, pods, { http: PORT }, { parent: this });
    const { env, mounts, volumes } = mountBindings(args.bindings);
    const server = container("notebook", {
      image,
      size,
      command: [
        ...["jupyter", "lab", "--no-browser", "--ip=0.0.0.0", `--port=${PORT}`, `--ServerApp.root_dir=${HOME}`],
        // One that is set by hand would still open it when the token is another.
        "--PasswordIdentityProvider.allow_password_change=False",
      ],
      ports: { http: PORT },
      env: { HOME, PLATFORM_OUTPUTS: `/etc/${OUTPUTS}`, ...env },
      secretEnv: [login],
      // A server whose kernels take all the CPU is busy, and a restart would end them with what they hold.
      probe: {
        ...{ kind: "http", path: "/api", port: "http" },
        ...{ liveness: { kind: "tcp", port: "http" }, livenessSeconds: 600 },
      },
      mounts: { "/tmp": "tmp", [HOME]: "home", [`/etc/${OUTPUTS}`]: OUTPUTS, ...mounts },
    });
    statefulSet(
      pods,
      podTemplate(pods, {
        containers: [{ ...server, ...(gpus > 0 && { resources: withGpus(size, gpus) }) }],
        uid: NOTEBOOK_UID,
        priorityClass: "standard-services",
        secretEnv: [login],
        scratch: { tmp: { sizeMiB: 1024 } },
        // Written when all stands that the outputs tell of.
        volumes: [...volumes, { name: OUTPUTS, configMap: { name: OUTPUTS, optional: true } }],
        ...(gpus > 0 && { nodeSelector: GPU_NODES, tolerations: GPU_TOLERATIONS }),
      }),
      { name: "home", ...volume },
      { parent: this, protect, dependsOn: [account, entry, login.resource, ...wires] },
    );
    this.registerOutputs();
  }
}

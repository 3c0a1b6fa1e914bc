import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { zipSync } from "fflate";
import type { Bucket } from "../base/endpoint";
import type { MountedFiles } from "../base/files";
import { objectName } from "../base/names";
import type { ContainerSize, RayResources } from "../base/pod";
import { s3Ca, s3ClientEnv, s3ClientSecret } from "../base/s3-client";
import { envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";

const RAY_UID = 1000;
// A ConfigMap can have 1 MiB, including its metadata.
const MAX_ZIP_BYTES = 1_000_000;
// The earliest date in zip; fixed so that the same code gives the same file.
const ZIP_DATE = new Date(1980, 0, 1);
// The proxy's request timeout.
const REQUEST_TIMEOUT_SECONDS = 30;

/** A Python application that Ray Serve runs. */
export interface ServeApplication {
  /** Directory with its packages, the working directory of its processes. */
  readonly directory: string;
  /** `<module>:<builder>` that Serve imports. */
  readonly importPath: string;
  /** Path prefix of its requests. */
  readonly routePrefix: string;
  /** Python packages that are installed for it, each with its version. @default none */
  readonly packages?: readonly string[];
  /** Arguments of its builder. */
  readonly args: Readonly<Record<string, unknown>>;
  /** Its deployments, by class name. */
  readonly deployments: Readonly<Record<string, DeploymentScale>>;
}

/** The scaling of a deployment. */
export interface DeploymentScale {
  /** Scaled by how many requests wait. */
  readonly replicas: { readonly min: number; readonly max: number };
  /** Running and queued requests per replica above which replicas are added. */
  readonly targetOngoingRequests: number;
  /** What Ray reserves per replica. @default what the code says */
  readonly resources?: RayResources | undefined;
}

/** Inputs of {@link ServeApplications}. */
export interface ServeApplicationsArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly applications: Readonly<Record<string, ServeApplication>>;
  /** Bucket of their code, with the user that uploads it; the cluster's nodes read it with one that may not write. */
  readonly bucket: Bucket;
  /** The nodes that accept requests: just the head, or every node. */
  readonly proxies: "HeadOnly" | "EveryNode";
  /** Size of the Job that uploads. */
  readonly size: ContainerSize;
}

/** The code of Serve applications, stored in a bucket by content hash, and Ray Serve's config. */
export class ServeApplications extends pulumi.ComponentResource {
  /** Ray Serve's config as JSON; resolves once the code is in the bucket. */
  readonly config: pulumi.Output<string>;
  /** Files with the alerts on what is served. */
  readonly alerts: readonly string[];
  private readonly uris: ReadonlyMap<string, pulumi.Output<string>>;

  constructor(name: string, args: ServeApplicationsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ml:ServeApplications", name, {}, opts);
    const { namespace, applications, bucket, proxies, size } = args;
    const packed = Object.entries(applications).map(([app, application]) => [app, pack(app, application)] as const);

    const login = envSecret(
      `${name}-object-store`,
      { namespace, data: s3ClientSecret(bucket.store) },
      { parent: this },
    );
    const files = Object.fromEntries(
      packed.map(([app, { file, zip, hash }]): [string, MountedFiles] => {
        const map = objectName(name, "code", app);
        const resource = new k8s.core.v1.ConfigMap(
          map,
          { metadata: { name: map, namespace }, binaryData: { [file]: Buffer.from(zip).toString("base64") } },
          { parent: this },
        );
        return [app, { name: map, checksum: pulumi.output(hash), resource, volume: { configMap: { name: map } } }];
      }),
    );
    const ca = s3Ca(bucket.store);
    const upload = new SetupJob(
      `${name}-upload`,
      {
        namespace,
        image: images.ray,
        size,
        uid: RAY_UID,
        command: ["python", "-c", UPLOAD],
        env: { HOME: "/tmp", BUCKET: bucket.name, ...s3ClientEnv(bucket.store) },
        secretEnv: [login],
        files,
        mounts: { ...Object.fromEntries(Object.keys(files).map((app) => [`/applications/${app}`, app])), ...ca.mounts },
        volumes: ca.volumes,
        talksTo: [bucket.store.destination],
      },
      { parent: this },
    );
    const uris = Object.fromEntries(packed.map(([app, { file }]) => [app, `s3://${bucket.name}/${file}`]));
    const uploaded = <T>(value: T): pulumi.Output<T> => upload.job.id.apply(() => value);
    this.config = uploaded(JSON.stringify(serveConfig(applications, uris, proxies)));
    this.uris = new Map(Object.entries(uris).map(([app, uri]) => [app, uploaded(uri)]));
    this.alerts =
      packed.length > 0
        ? ["serve-applications", "models"].map((file) => path.join(__dirname, `${file}.alerts.yaml`))
        : [];
    this.registerOutputs();
  }

  /** URL of an application's code, once it is uploaded: the working directory of Ray's jobs. */
  code(app: string): pulumi.Output<string> {
    const uri = this.uris.get(app);
    if (uri === undefined) throw new Error(`there is no Serve application ${app}`);
    return uri;
  }
}

// Older versions stay, because nodes that start during a deployment still fetch them.
const UPLOAD = `import os, pathlib, sys, boto3
store = boto3.client("s3")
bucket = os.environ["BUCKET"]
for file in sorted(pathlib.Path("/applications").glob("*/*.zip")):
    store.upload_file(str(file), bucket, file.name)
    if store.get_object(Bucket=bucket, Key=file.name)["Body"].read() != file.read_bytes():
        sys.exit(f"the object store returns other bytes of {file.name} than it was sent: see its log")
    print("uploaded", file.name)`;

/** The config for `PUT /api/serve/applications/` and a RayService. It has no credentials: nodes use their own. */
function serveConfig(
  applications: ServeApplicationsArgs["applications"],
  uris: Readonly<Record<string, string>>,
  proxies: ServeApplicationsArgs["proxies"],
): object {
  return {
    proxy_location: proxies,
    http_options: { request_timeout_s: REQUEST_TIMEOUT_SECONDS },
    applications: Object.entries(applications).map(
      ([app, { routePrefix, importPath, packages = [], args, deployments }]) => ({
        name: app,
        route_prefix: routePrefix,
        import_path: importPath,
        runtime_env: { working_dir: uris[app], ...(packages.length > 0 && { pip: packages }) },
        args,
        deployments: Object.entries(deployments).map(
          ([deployment, { replicas, targetOngoingRequests, resources }]) => ({
            name: deployment,
            autoscaling_config: {
              min_replicas: replicas.min,
              max_replicas: replicas.max,
              target_ongoing_requests: targetOngoingRequests,
            },
            // Above the target, so that a queue can trigger scaling.
            max_ongoing_requests: Math.ceil(2 * targetOngoingRequests),
            ...(resources && { ray_actor_options: actorOptions(resources) }),
          }),
        ),
      }),
    ),
  };
}

// Ray replaces the code's options by these as a whole.
function actorOptions({ cpu, gpus, memoryMiB, labels }: RayResources): object {
  return {
    num_cpus: cpu,
    ...(gpus !== undefined && { num_gpus: gpus }),
    ...(memoryMiB !== undefined && { memory: memoryMiB * 1024 ** 2 }),
    ...(labels && { label_selector: labels }),
  };
}

interface PackedCode {
  readonly file: string;
  readonly zip: Uint8Array;
  readonly hash: string;
}

/**
 * The code of an application as a zip that depends on nothing but its files. They lie in one folder, which Ray takes away
 * when it unpacks a zip from a bucket.
 */
export function pack(app: string, { directory, importPath, deployments }: ServeApplication): PackedCode {
  const key = `serve.applications.${app}`;
  if (!fs.existsSync(directory)) {
    throw new pulumi.RunError(`${key}.directory: there is no folder ${directory}; correct it or add the code`);
  }
  const files = sourceFiles(directory);
  const [module = "", builder = ""] = importPath.split(":");
  const candidates = [`${module.replaceAll(".", "/")}.py`, `${module.replaceAll(".", "/")}/__init__.py`];
  const source = candidates.find((file) => files.includes(file));
  if (source === undefined) {
    throw new pulumi.RunError(
      `${key}.importPath: ${importPath} is not allowed: ${directory} has no ${candidates.join(" or ")}; correct it`,
    );
  }
  if (!new RegExp(`^(def ${builder}\\b|${builder}\\b.*=)`, "m").test(readText(directory, source))) {
    throw new pulumi.RunError(
      `${key}.importPath: ${importPath} is not allowed: ${path.join(directory, source)} defines no ${builder}; correct it`,
    );
  }
  const sized = Object.entries(deployments).find(([, { resources }]) => resources !== undefined)?.[0];
  const saying = files.find((file) => file.endsWith(".py") && readText(directory, file).includes("ray_actor_options"));
  if (sized !== undefined && saying !== undefined) {
    throw new pulumi.RunError(
      `${key}.deployments.${sized}: its cpu, gpus and memoryMiB would replace what ${path.join(directory, saying)} says in ` +
        `ray_actor_options, all of it; remove them here or there`,
    );
  }
  const contents = files.map((file) => [`${app}/${file}`, fs.readFileSync(path.join(directory, file))] as const);
  const zip = zipSync(Object.fromEntries(contents), { mtime: ZIP_DATE, os: 3, attrs: 0o644 << 16, level: 9 });
  if (zip.length > MAX_ZIP_BYTES) {
    throw new pulumi.RunError(
      `${key}.directory: ${directory} packs to ${zip.length} bytes, which is above ${MAX_ZIP_BYTES}; keep data out of it`,
    );
  }
  const hash = createHash("sha256").update(zip).digest("hex").slice(0, 12);
  return { file: `${app}-${hash}.zip`, zip, hash };
}

// Files that runs and tests leave behind, and files for people and tools.
const LEFT_OUT = /(^|\/)(\.[^/]*|__pycache__|tests?)(\/|$)|\.pyc$/;

function sourceFiles(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"))
    .filter((file) => !LEFT_OUT.test(file))
    .sort();
}

function readText(directory: string, file: string): string {
  return fs.readFileSync(path.join(directory, file), "utf8");
}

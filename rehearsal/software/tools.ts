import * as fs from "node:fs";
import * as path from "node:path";
import { images } from "../../components/base/versions";
import { ensureTools, pinned, type ToolSet } from "../simulation/toolchain";
import { moduleFolder } from "../simulation/toolchain/build";

const DIRECTORY = path.join(__dirname, "tools");
// Of its own: it wants newer libraries than MinIO compiles with.
const GATEWAY_DIRECTORY = path.join(DIRECTORY, "envoy-gateway");
// With what a node runs besides, whose libraries it shares.
const NODE_DIRECTORY = path.join(__dirname, "..", "node", "tools");
const REDIS_EXPORTER = "github.com/oliver006/redis_exporter";
const GATEWAY_MODULE = "github.com/envoyproxy/gateway";
const STRIP = "-s -w";

/** `v0.0.0-20250907161309-07c3a429bfed` as MinIO names it: `RELEASE.2025-09-07T16-13-09Z`. */
function release(pseudoVersion: string): string {
  const [, year, month, day, hour, minute, second] =
    /-(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)-/.exec(pseudoVersion) ?? [];
  return `RELEASE.${year}-${month}-${day}T${hour}-${minute}-${second}Z`;
}

/** The release of Envoy Gateway that is built; a test compares it with the chart that we deploy. */
export const envoyGatewayRelease = pinned(GATEWAY_MODULE, GATEWAY_DIRECTORY);

/** The releases that are built; a test compares them with the images that we deploy. */
export const releases = {
  [images.minio]: release(pinned("github.com/minio/minio", DIRECTORY)),
  [images.minioClient]: release(pinned("github.com/minio/mc", DIRECTORY)),
  [images.redisExporter]: pinned(REDIS_EXPORTER, NODE_DIRECTORY),
};

const S3: ToolSet = {
  owner: "the live tests",
  directory: DIRECTORY,
  // Seconds on two cores, the second after the first.
  tools: [
    {
      name: "minio",
      package: "github.com/minio/minio",
      ldflags: `${STRIP} -X github.com/minio/minio/cmd.ReleaseTag=${releases[images.minio]}`,
      seconds: 200,
    },
    { name: "mc", package: "github.com/minio/mc", ldflags: STRIP, seconds: 20 },
  ],
};

const GATEWAY: ToolSet = {
  owner: "the live tests",
  directory: GATEWAY_DIRECTORY,
  tools: [{ name: "envoy-gateway", package: `${GATEWAY_MODULE}/cmd/envoy-gateway`, ldflags: STRIP, seconds: 260 }],
};

const EXPORTER: ToolSet = {
  owner: "the live tests",
  directory: NODE_DIRECTORY,
  tools: [{ name: "redis_exporter", package: REDIS_EXPORTER, ldflags: STRIP, seconds: 3 }],
};

/** The directory of `envoy-gateway`. */
export function ensureEnvoyGateway(progress: (line: string) => void): Promise<string> {
  return ensureTools(GATEWAY, progress);
}

/** The directory of its chart, of the same release. */
export async function ensureEnvoyGatewayChart(progress: (line: string) => void): Promise<string> {
  const charts = await moduleFolder(await ensureEnvoyGateway(progress), GATEWAY_DIRECTORY, GATEWAY_MODULE, "charts");
  const chart = path.join(charts, "gateway-helm");
  const template = fs.readFileSync(path.join(chart, "values.tmpl.yaml"), "utf8");
  // A release fills in its image.
  const image = `docker.io/envoyproxy/gateway:${envoyGatewayRelease}`;
  const values = template.replace("${GatewayImage}", image).replace("${GatewayImagePullPolicy}", "IfNotPresent");
  fs.writeFileSync(path.join(chart, "values.yaml"), values);
  return charts;
}

/** The directory of `minio` and `mc`, built from the sources of the images' releases. */
export function ensureS3(progress: (line: string) => void): Promise<string> {
  return ensureTools(S3, progress);
}

/** The directory of `redis_exporter`. */
export function ensureRedisExporter(progress: (line: string) => void): Promise<string> {
  return ensureTools(EXPORTER, progress);
}

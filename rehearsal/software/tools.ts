import * as path from "node:path";
import { images } from "../../components/base/versions";
import { ensureTools, pinned, type ToolSet } from "../simulation/toolchain";

const DIRECTORY = path.join(__dirname, "tools");
// Of its own: it wants newer libraries than MinIO compiles with.
const GATEWAY_DIRECTORY = path.join(DIRECTORY, "envoy-gateway");
// Pinned there, with what else a node runs.
const NODE_DIRECTORY = path.join(__dirname, "..", "node", "tools");
const STRIP = "-s -w";

/** `v0.0.0-20250907161309-07c3a429bfed` as MinIO names it: `RELEASE.2025-09-07T16-13-09Z`. */
function release(pseudoVersion: string): string {
  const [, year, month, day, hour, minute, second] =
    /-(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)-/.exec(pseudoVersion) ?? [];
  return `RELEASE.${year}-${month}-${day}T${hour}-${minute}-${second}Z`;
}

/** The release of Envoy Gateway that is built; a test compares it with the chart that we deploy. */
export const envoyGatewayRelease = pinned("github.com/envoyproxy/gateway", GATEWAY_DIRECTORY);

/** The releases that are built; a test compares them with the images that we deploy. */
export const releases = {
  [images.minio]: release(pinned("github.com/minio/minio", DIRECTORY)),
  [images.minioClient]: release(pinned("github.com/minio/mc", DIRECTORY)),
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
  tools: [
    { name: "envoy-gateway", package: "github.com/envoyproxy/gateway/cmd/envoy-gateway", ldflags: STRIP, seconds: 260 },
  ],
};

/** The exporter of Redis' metrics. */
export const REDIS_EXPORTER = {
  name: "redis_exporter",
  package: "github.com/oliver006/redis_exporter",
  ldflags: STRIP,
  seconds: 3,
};

const EXPORTER: ToolSet = { owner: "the live tests", directory: NODE_DIRECTORY, tools: [REDIS_EXPORTER] };

/** The directory of `envoy-gateway`. */
export function ensureEnvoyGateway(progress: (line: string) => void): Promise<string> {
  return ensureTools(GATEWAY, progress);
}

/** The directory of `minio` and `mc`, built from the sources of the images' releases. */
export function ensureS3(progress: (line: string) => void): Promise<string> {
  return ensureTools(S3, progress);
}

/** The directory of `redis_exporter`. */
export function ensureRedisExporter(progress: (line: string) => void): Promise<string> {
  return ensureTools(EXPORTER, progress);
}

import * as path from "node:path";
import { Verify } from "../components/observability/verify";
import type { PlatformConfig } from "./config";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Observability } from "./observability";

/** What `npm run verify` asks from inside the cluster: last, because it looks at every other layer. */
export function verification(
  config: PlatformConfig,
  { mlflow, feast, ray, applications: { commodity } }: Ml,
  { monitoring }: Observability,
  ground: Foundation,
): void {
  new Verify(
    "verify",
    {
      namespace: ground.namespaces["data-platform"],
      image: mlflow.image,
      asks: {
        mlflow: mlflow.tracking,
        feast: feast.http,
        ray,
        ...(commodity !== undefined && {
          serve: {
            endpoint: ray.serve,
            path: path.posix.join(commodity, "predict/price-forecast"),
            body: { commodity_code: "WTI" },
          },
        }),
        prometheus: monitoring.prometheus,
      },
      size: config.verify,
    },
    ground.opts,
  );
}

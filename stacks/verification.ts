import { Verify } from "../components/observability/verify";
import type { PlatformConfig } from "./config";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";

/** What `npm run verify` asks from inside the cluster: last, because it looks at every other layer. */
export function verification(config: PlatformConfig, { mlflow, ray, rayToken }: Ml, ground: Foundation): void {
  new Verify(
    "verify",
    {
      namespace: ground.namespaces["data-platform"],
      image: mlflow.image,
      asks: { mlflow: mlflow.tracking, ray: { dashboard: ray.dashboard, token: rayToken } },
      size: config.verify,
    },
    ground.opts,
  );
}

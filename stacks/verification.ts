import { Verify } from "../components/observability/verify";
import type { PlatformConfig } from "./config";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Secrets } from "./secrets";

/** What `npm run verify` asks from inside the cluster: last, because it looks at every other layer. */
export function verification(config: PlatformConfig, secrets: Secrets, { mlflow, ray }: Ml, ground: Foundation): void {
  new Verify(
    "verify",
    {
      namespace: ground.namespaces["data-platform"],
      asks: {
        mlflow: mlflow.tracking,
        ray: { dashboard: ray.dashboard, token: secrets.get("rayAuthToken") },
      },
      size: config.verify,
    },
    ground.opts,
  );
}

import * as path from "node:path";
import { images } from "../../components/base/versions";
import { Verify } from "../../components/observability/verify";
import type { PlatformConfig } from "../config/schema";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Observability } from "./observability";

/** The questions that `npm run verify` asks from inside the cluster. The last layer, because it uses all others. */
export function verification(
  config: PlatformConfig,
  { mlflow, feast, ray, serve }: Ml,
  { monitoring }: Observability,
  ground: Foundation,
): void {
  if (config.verify === undefined) return;
  const commodity = serve?.applications["commodity"];
  new Verify(
    "verify",
    {
      namespace: ground.namespaces["data-platform"],
      // Any image with Python would do.
      image: images.feast,
      asks: {
        ...(mlflow && { mlflow: mlflow.tracking }),
        ...(feast && { feast: feast.http }),
        ...(ray && { ray }),
        ...(ray?.serve !== undefined &&
          commodity !== undefined && {
            serve: {
              endpoint: ray.serve,
              path: path.posix.join(commodity, "predict/price-forecast"),
              body: { commodity_code: "WTI" },
            },
          }),
        ...(monitoring && { prometheus: monitoring.prometheus }),
      },
      size: config.verify,
    },
    ground.at("verify"),
  );
}

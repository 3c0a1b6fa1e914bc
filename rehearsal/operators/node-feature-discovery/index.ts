import { charts } from "../../../components/base/versions";
import type { Operator } from "../operator";

/** Its objects are the nodes' own business. */
export const nodeFeatureDiscovery: Operator = {
  name: "node-feature-discovery",
  origin: `chart node-feature-discovery ${charts.nodeFeatureDiscovery.version}`,
  kinds: {},
};

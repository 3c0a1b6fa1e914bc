import { charts } from "../../../components/base/versions";
import { INERT, type Operator } from "../operator";

const policy = { ...INERT, withoutStage: "istiod writes no status that something waits for" };

export const istio: Operator = {
  name: "istio",
  origin: `chart base ${charts.istioBase.version}`,
  kinds: {
    "security.istio.io/v1/AuthorizationPolicy": policy,
    "security.istio.io/v1/PeerAuthentication": policy,
  },
};

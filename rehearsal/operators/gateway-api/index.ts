import { manifests } from "../../../components/base/versions";
import { INERT, type Operator } from "../operator";

const kind = { ...INERT, withoutStage: "no gateway is installed yet that would serve it" };

export const gatewayApi: Operator = {
  name: "gateway-api",
  origin: `gateway-api ${manifests.gatewayApi.version}`,
  kinds: {
    "gateway.networking.k8s.io/v1/Gateway": kind,
    "gateway.networking.k8s.io/v1/GatewayClass": kind,
    "gateway.networking.k8s.io/v1/HTTPRoute": kind,
  },
};

import { manifests } from "../../../components/base/versions";
import { INERT, type Operator } from "../operator";

const read = { ...INERT, withoutStage: "the gateway's controller reads it, and none runs" };

export const gatewayApi: Operator = {
  name: "gateway-api",
  origin: `gateway-api ${manifests.gatewayApi.version}`,
  kinds: {
    "gateway.networking.k8s.io/v1/BackendTLSPolicy": read,
    "gateway.networking.k8s.io/v1/Gateway": INERT,
    "gateway.networking.k8s.io/v1/GatewayClass": INERT,
    "gateway.networking.k8s.io/v1/HTTPRoute": read,
    "gateway.networking.k8s.io/v1beta1/ReferenceGrant": read,
  },
};

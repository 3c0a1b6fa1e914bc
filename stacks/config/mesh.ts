import { z } from "zod";
import { Size } from "./shapes";

/** Istio in ambient mode: mTLS and identities between all pods, without sidecars. */
export const Mesh = z.strictObject({
  istiod: Size.meta({ description: "The control plane: issues identities and distributes policies" }),
  cni: Size.meta({ description: "The agent on each node that takes pods into the mesh" }),
  ztunnel: Size.meta({ description: "The proxy on each node that carries what its pods send and receive" }),
});

import type * as pulumi from "@pulumi/pulumi";
import type { PodPorts } from "../../base/endpoint";
import type { ContainerSize } from "../../base/pod";
import { secretFiles } from "../../base/files";
import { images } from "../../base/versions";
import { Workload } from "../../base/workload";

const METRICS_PORT = 2000;
const TOKEN_DIRECTORY = "/etc/cloudflared/token";

/** How the world reaches the proxies. */
export type Exposure =
  | { readonly kind: "nodePort"; readonly http: number; readonly https: number }
  | { readonly kind: "loadBalancer" }
  | Tunnel;

/** By connections that Cloudflare's agent opens from inside, so that no port is open. */
export interface Tunnel {
  readonly kind: "cloudflareTunnel";
  readonly token: pulumi.Output<string>;
  readonly replicas: number;
  readonly size: ContainerSize;
  /** Addresses of Cloudflare's edge. */
  readonly cidrs: readonly string[];
}

/** Makes the agents of a tunnel. Which host name leads to which Service is set in Cloudflare's dashboard. */
export function tunnel(
  parent: pulumi.Resource,
  name: string,
  { token, replicas, size, cidrs }: Tunnel,
  { namespace, to }: { readonly namespace: pulumi.Input<string>; readonly to: PodPorts },
): void {
  const secret = secretFiles(name, { namespace, files: { token } }, { parent });
  new Workload(
    name,
    {
      namespace,
      image: images.cloudflared,
      replicas,
      size,
      uid: 65532,
      priorityClass: "critical-services",
      ports: { metrics: METRICS_PORT },
      args: ["tunnel", `--metrics=0.0.0.0:${METRICS_PORT}`, "run"],
      // QUIC is UDP, and wires are TCP.
      env: { TUNNEL_TRANSPORT_PROTOCOL: "http2", TUNNEL_TOKEN_FILE: `${TOKEN_DIRECTORY}/token` },
      mounts: { [TOKEN_DIRECTORY]: "token" },
      files: { token: secret },
      // Ready while it has a connection to Cloudflare, which a restart does not bring back.
      probe: {
        kind: "http",
        path: "/ready",
        port: "metrics",
        liveness: { kind: "http", path: "/healthcheck", port: "metrics" },
      },
      talksTo: [to, { kind: "external", name: "cloudflare-edge", cidrs, port: 7844, why: "tunnel" }],
    },
    { parent },
  );
}

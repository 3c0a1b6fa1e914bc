import * as path from "node:path";
import { images } from "../../components/base/versions";
import { ensureTools, KUBERNETES, pinned, type ToolSet } from "../simulation/toolchain";

const DIRECTORY = path.join(__dirname, "tools");
const STRIP = "-s -w";
const LOCAL_PATH = "github.com/rancher/local-path-provisioner";
const METRICS_SERVER = "sigs.k8s.io/metrics-server";

/** The releases that are built; a test compares them with the images that we deploy. */
export const releases = {
  [images.localPathProvisioner]: pinned(LOCAL_PATH, DIRECTORY),
};

// A module of its own: with the kubelet's Kubernetes it does not start.
const METRICS_SERVER_MODULE = "metrics-server";

/** The version of metrics-server that is built. */
export const metricsServerVersion = pinned(METRICS_SERVER, path.join(DIRECTORY, METRICS_SERVER_MODULE));

const NODE: ToolSet = {
  owner: "the node",
  directory: DIRECTORY,
  // Seconds on two cores, in this order.
  tools: [
    { name: "kubelet", package: "k8s.io/kubernetes/cmd/kubelet", ldflags: KUBERNETES, seconds: 240 },
    { name: "kube-proxy", package: "k8s.io/kubernetes/cmd/kube-proxy", ldflags: KUBERNETES, seconds: 7 },
    { name: "coredns", package: "./coredns", ldflags: STRIP, seconds: 9 },
    {
      name: "kube-network-policies",
      package: "sigs.k8s.io/kube-network-policies/cmd",
      ldflags: STRIP,
      seconds: 9,
    },
    { name: "local-path-provisioner", package: LOCAL_PATH, ldflags: STRIP, seconds: 5 },
    {
      name: "metrics-server",
      module: METRICS_SERVER_MODULE,
      package: `${METRICS_SERVER}/cmd/metrics-server`,
      ldflags: STRIP,
      seconds: 100,
    },
  ],
};

/** The directory of what a node runs. */
export function ensureNodeTools(progress: (line: string) => void): Promise<string> {
  return ensureTools(NODE, progress);
}

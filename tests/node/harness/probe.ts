import { images } from "../../../components/base/versions";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import type { Labels } from "../../live/harness/rendered";
import { kubectl } from "./cluster";

const NAME = "connection-test";
const SECONDS = 2;

/** What became of a connection. */
export type Outcome = "open" | "refused" | "blocked";

/**
 * A pod that takes the labels of others, one after the other, and tries their connections: policies know pods by their labels
 * alone. It is never ready, so that no Service sends anybody to it.
 */
export class Probe {
  private constructor(
    private readonly rehearsal: Rehearsal,
    private readonly namespace: string,
    private labels: Labels,
  ) {}

  static async start(rehearsal: Rehearsal, namespace: string, labels: Labels): Promise<Probe> {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: NAME, labels },
      spec: {
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: NAME,
            image: images.busybox,
            command: ["sleep", "infinity"],
            readinessProbe: { exec: { command: ["false"] } },
            resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { cpu: "500m", memory: "64Mi" } },
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ["ALL"] },
            },
          },
        ],
      },
    };
    await kubectl(rehearsal, namespace, ["create", "--filename=-"], JSON.stringify(pod));
    await kubectl(rehearsal, namespace, ["wait", "pod", NAME, "--for=jsonpath={.status.phase}=Running"]);
    return new Probe(rehearsal, namespace, labels);
  }

  /** Goes by other labels. */
  async be(labels: Labels): Promise<void> {
    const gone = Object.fromEntries(Object.keys(this.labels).map((key) => [key, null]));
    const patch = JSON.stringify({ metadata: { labels: { ...gone, ...labels } } });
    await kubectl(this.rehearsal, this.namespace, ["patch", "pod", NAME, "--type=merge", "--patch", patch]);
    this.labels = labels;
  }

  /** Tries addresses such as `10.244.0.7:5432` all at once; a server that refuses was reached. */
  async try(addresses: readonly string[]): Promise<ReadonlyMap<string, Outcome>> {
    const script = addresses.map((address) => {
      const file = `/dev/tcp/${address.replace(":", "/")}`;
      return `(timeout ${SECONDS} bash -c '<${file}' 2>/dev/null; echo ${address} $?) &`;
    });
    const output = await kubectl(this.rehearsal, this.namespace, [
      ...["exec", NAME, "--", "bash", "-c", [...script, "wait"].join("\n")],
    ]);
    return new Map(
      output
        .trim()
        .split("\n")
        .map((line) => {
          const [address = "", code = ""] = line.split(" ");
          return [address, code === "0" ? "open" : code === "124" ? "blocked" : "refused"];
        }),
    );
  }

  async stop(): Promise<void> {
    await kubectl(this.rehearsal, this.namespace, ["delete", "pod", NAME, "--grace-period=0", "--force"]);
  }
}

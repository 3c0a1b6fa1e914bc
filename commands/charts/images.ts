import { PULL_SECRET } from "../../components/base/pod-settings";
import type { Manifest } from "../../rehearsal/operators/operator";
import type { PlatformConfig } from "../../stacks/config/schema";
import { workloadsOf } from "./declaration";

/** What a rendered chart would pull past the mirrors, and pods of it that could not log in. */
export function imageFaults(
  objects: readonly Manifest[],
  config: Pick<PlatformConfig["images"], "mirrors" | "pullSecret">,
): string[] {
  return [...mirrorFaults(objects, config), ...(config.pullSecret ? loginFaults(objects) : [])];
}

/** Operators take the images of their pods from arguments, variables and files: a name may stand in any text. */
function mirrorFaults(objects: readonly Manifest[], { mirrors }: Pick<PlatformConfig["images"], "mirrors">): string[] {
  const hosts = Object.keys(mirrors).map((host) => host.replaceAll(".", "\\."));
  const image = new RegExp(String.raw`(?<![\w./-])(?:${hosts.join("|")})/[\w./-]+`, "g");
  return objects
    .filter(({ kind }) => hosts.length > 0 && kind !== "CustomResourceDefinition")
    .flatMap(({ kind, metadata: { name }, ...object }) =>
      [...new Set(JSON.stringify(object).match(image))].map(
        (found) => `${kind} ${name}: takes ${found} past images.mirrors; set its key in components/base/pod-keys.ts`,
      ),
    );
}

function loginFaults(objects: readonly Manifest[]): string[] {
  const knows = (object: unknown) => JSON.stringify(object).includes(`"${PULL_SECRET}"`);
  const accounts = objects.filter((object) => object.kind === "ServiceAccount" && knows(object));
  const owners = objects.filter(knows).map(({ kind, metadata: { name } }) => `${kind} ${name}`);
  return workloadsOf(objects)
    .filter(({ template, pod, serviceAccount }) => {
      // What an operator makes has the Secret of the object that it is made of.
      if (template === undefined)
        return !owners.some((owner) => /^(Prometheus|Alertmanager|ClusterPolicy) /.test(owner));
      return !knows(pod) && !accounts.some(({ metadata }) => metadata.name === serviceAccount);
    })
    .map(
      ({ kind, name }) =>
        `${kind} ${name}: its pods do not name Secret ${PULL_SECRET}; set its key in components/base/pod-keys.ts`,
    );
}

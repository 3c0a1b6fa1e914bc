import { KubeConfig } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import { parseConfig } from "../stacks/config/schema";
import { readStackFile } from "../rehearsal/program/evaluate";

/** The shell's kubeconfig at the stack's context. Throws a RunError that lists the available contexts. */
export function kubeconfigOf(stack: string): KubeConfig {
  const { cluster } = parseConfig(readStackFile(stack)["carbon:platform"], `Pulumi.${stack}.yaml`);
  const kubeconfig = new KubeConfig();
  try {
    kubeconfig.loadFromDefault();
  } catch (error) {
    const { message } = error as Error;
    throw new pulumi.RunError(`the kubeconfig cannot be read: ${message}; set KUBECONFIG to a valid one`);
  }
  if (kubeconfig.getContextObject(cluster.context) === null) {
    const known = kubeconfig.getContexts().map(({ name }) => name);
    throw new pulumi.RunError(
      `cluster.context: ${cluster.context} is not in the kubeconfig; it has ${known.join(", ") || "none"}; set KUBECONFIG`,
    );
  }
  kubeconfig.setCurrentContext(cluster.context);
  return kubeconfig;
}

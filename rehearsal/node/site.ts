import * as path from "node:path";
import { images } from "../../components/base/versions";
import type { PlatformConfig } from "../../stacks/config/schema";
import { evaluateStack } from "../program/charts";
import { imagesIn } from "../program/images";
import { plain } from "../program/values";
import { ensureNodeTools } from "./tools";
import { COREDNS_IMAGE } from "./objects";
import { ImageStore, type LocalImage } from "./images";
import { runsDirectory, SANDBOX_IMAGE, startNode } from "./node";
import { prepareTools, type Site } from "../simulation/rehearse";
import { cacheDirectory, ensureCertManager } from "../simulation/toolchain";
import { softwareOf } from "../software/images";
import { cnpgWebhooks, ensureOperators } from "./operators/build";
import { metricsServerImage } from "./operators/metrics-server";
import { monitoringImages, serverVersions } from "./operators/monitoring";
import { operatorImages, withOperators } from "./operators/pods";

/** A real node of this machine, with all that a stack's pods run. Made where there is a network, started where there is none. */
export async function prepareSite(stack: string, progress: (line: string) => void): Promise<Site> {
  const program = await evaluateStack(stack);
  const rehearsalTools = await prepareTools(progress);
  const tools = await ensureNodeTools(progress);
  const operators = await ensureOperators(progress);
  const certManager = await ensureCertManager(progress);
  // The pod that makes volumes is in a file.
  const named = new Set([images.busybox, ...program.registrations.flatMap(({ inputs }) => imagesIn(plain(inputs)))]);
  const all = [
    ...(await Promise.all([...named].map((name) => imageOf(name, tools)))),
    ...operatorImages(operators, certManager),
    ...(await monitoringImages(operators, progress)),
    metricsServerImage(tools),
    { name: SANDBOX_IMAGE, parts: [], entrypoint: ["sleep", "infinity"] },
    { name: COREDNS_IMAGE, parts: [binary(tools, "coredns", "/coredns")], entrypoint: ["/coredns"] },
  ];
  const store = new ImageStore(path.join(cacheDirectory(), "node", "images"), progress);
  await store.make(all);
  return {
    tools: rehearsalTools,
    adapted: withOperators(program, await cnpgWebhooks(operators), await serverVersions(progress)),
    runs: runsDirectory(),
    start: async (config, directory, report) => {
      const layout = await store.layout(all);
      const [[name] = [""]] = Object.entries(config.cluster.nodes);
      return startNode(
        rehearsalTools.toolchain,
        tools,
        {
          name,
          context: config.cluster.context,
          address: addressOf(config),
          apiServerPort: config.cluster.apiServer.port,
          podCidr: config.cluster.podCidr,
          dnsDomain: config.cluster.dnsDomain,
          volumes: config.storage.directory,
          images: layout,
        },
        directory,
        report,
      );
    },
  };
}

/** The address of a stack's one node, at which its API server listens. */
export function addressOf({ cluster }: PlatformConfig): string {
  return cluster.apiServer.cidrs[0]?.split("/")[0] ?? "";
}

async function imageOf(name: string, tools: string): Promise<LocalImage> {
  switch (name) {
    case images.busybox:
      return { name, parts: [] };
    case images.localPathProvisioner:
      return { name, parts: [binary(tools, "local-path-provisioner", "/usr/local/bin/local-path-provisioner")] };
    default: {
      const { path: directories, entrypoint, pieces } = await softwareOf(name);
      const parts = pieces.flatMap((piece) => {
        if (piece.kind === "tmpfs") throw new Error(`${name}: an image holds no memory`);
        // The base has the system's own Python.
        if (piece.kind === "ro" && piece.source === "/usr") return [];
        return [{ kind: piece.kind === "link" ? "link" : "copy", source: piece.source, target: piece.target } as const];
      });
      return { name, parts, path: directories, ...(entrypoint && { entrypoint }) };
    }
  }
}

function binary(directory: string, name: string, target: string): { kind: "copy"; source: string; target: string } {
  return { kind: "copy", source: path.join(directory, name), target };
}

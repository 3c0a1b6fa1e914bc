/** Stand-in for the official kubernetes plugin, for machines that cannot download it. */
import { setMaxListeners } from "node:events";
import { version } from "@pulumi/kubernetes/package.json";
import { ApiServer, connection } from "./api";
import { Objects } from "./objects";
import { servePlugin, type Host, type Plugin, type ResourceType } from "./plugin";
import { Releases } from "./release";
import { asText, isSet, optional, plainObject, textAt, type Properties } from "../../program/values";

const RELEASE = "kubernetes:helm.sh/v3:Release";

function kubernetes(host: Host): Plugin {
  const cancelled = new AbortController();
  // Each wait listens to it, and hundreds wait at once.
  setMaxListeners(0, cancelled.signal);
  let resources: { readonly objects: ResourceType; readonly releases: ResourceType } | undefined;
  return {
    version,
    async configure(properties) {
      const config = plainObject(properties);
      // The SDK fills in KUBECONFIG by itself where the program names no kubeconfig.
      if (isSet(config["kubeconfig"]) && config["kubeconfig"] !== process.env["KUBECONFIG"]) {
        throw new Error(
          "the stand-in for the kubernetes plugin takes its cluster from KUBECONFIG alone; leave out the provider's kubeconfig",
        );
      }
      const context = optional(textAt(config, "context"));
      const api = await ApiServer.connect(context);
      const namespace = textAt(config, "namespace") || api.defaultNamespace;
      const common = { host, cancelled: cancelled.signal, namespace };
      resources = {
        objects: new Objects({
          ...common,
          api,
          mutable: {
            secrets: isOn(config, "enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
            configMaps: isOn(config, "enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
          },
          patchForce: isOn(config, "enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
          upsert: isOn(config, "upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        }),
        releases: new Releases({ ...common, context }),
      };
    },
    replacedBy(olds, news) {
      const [before, after] = [clusterOf(olds), clusterOf(news)];
      return before !== undefined && after !== undefined && before !== after ? ["context"] : [];
    },
    resource(type) {
      if (resources === undefined) {
        throw new Error(`${type} was asked for before the provider was configured`);
      }
      return type === RELEASE ? resources.releases : resources.objects;
    },
    cancel() {
      cancelled.abort();
    },
  };
}

/** The cluster behind a provider's context; undefined when the kubeconfig has none of that name any more. */
function clusterOf(config: Properties): string | undefined {
  try {
    return connection(optional(textAt(plainObject(config), "context"))).server.href;
  } catch (error) {
    if (error instanceof Error) {
      return undefined;
    }
    throw error;
  }
}

/** A switch of the provider, given as JSON text by the SDK, else an environment variable. */
function isOn(config: Properties, key: string, variable: string): boolean {
  return asText(config[key] ?? process.env[variable]) === "true";
}

servePlugin(kubernetes);

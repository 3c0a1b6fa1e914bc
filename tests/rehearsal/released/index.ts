/**
 * Registers what the state of a release holds, resource by resource: an `up` of this brings a stack up as that release did,
 * without its program. RELEASE names the release. The cluster and the charts are those of the rehearsal.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { releasedState, type ReleasedResource } from "../../support/releases";

const charts = new pulumi.Config("carbon").requireObject<{ charts: { directory: string } }>("platform").charts
  .directory;
const made = new Map<string, pulumi.Resource>();

// What a provider has from where it runs.
const NOT_OF_THE_RELEASE = ["kubeconfig", "version", "__internal"];

class Registered extends pulumi.CustomResource {
  declare readonly metadata: pulumi.Output<{ readonly uid: string }>;
}

class KubernetesProvider extends pulumi.ProviderResource {
  constructor(name: string, inputs: pulumi.Inputs, options: pulumi.ResourceOptions) {
    super("kubernetes", name, inputs, options);
  }
}

function register(one: ReleasedResource): pulumi.Resource {
  const { type, urn, parent = "", provider = "", dependencies = [], protect = false, custom } = one;
  const name = urn.split("::").at(-1) ?? "";
  const to = made.get(parent);
  const options = {
    ...(to && { parent: to }),
    protect,
    dependsOn: dependencies.flatMap((dependency) => made.get(dependency) ?? []),
  };
  if (!custom) return new pulumi.ComponentResource(type, name, {}, options);
  if (type === "pulumi:providers:kubernetes") {
    const own = Object.entries(one.inputs ?? {}).filter(([key]) => !NOT_OF_THE_RELEASE.includes(key));
    return new KubernetesProvider(name, Object.fromEntries(own), options);
  }
  const use = made.get(provider.slice(0, provider.lastIndexOf("::")));
  return new Registered(
    type,
    name,
    { metadata: undefined, ...inputsOf(one) },
    {
      ...options,
      ...(use instanceof pulumi.ProviderResource && { provider: use }),
      ...(one.external && { id: one.id ?? "" }),
      ...(one.retainOnDelete && { retainOnDelete: true }),
      ...(one.customTimeouts && { customTimeouts: one.customTimeouts }),
    },
  );
}

function inputsOf({ type, inputs = {} }: ReleasedResource): object {
  // The identity of the cluster is that of the one that runs now.
  if (type !== "pulumi:index:Stash") return revived(inputs) as object;
  const [, identity] = [...made].find(([urn]) => urn.endsWith("::cluster-identity")) ?? [];
  return { input: (identity as Registered).metadata.uid };
}

/** A value of the state as a program gives it: secrets are secret, and charts lie where this rehearsal has them. */
function revived(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith("/rehearsal/charts/") ? chart(value) : value;
  if (Array.isArray(value)) return value.map(revived);
  if (typeof value !== "object" || value === null) return value;
  if ("plaintext" in value) return pulumi.secret(JSON.parse(value.plaintext as string));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, revived(member)]));
}

/** The rehearsal's chart, but with all that it runs in the release's own namespace, as no chart of 0.1.0 had it otherwise. */
function chart(released: string): string {
  const name = path.basename(released);
  const own = path.join(path.dirname(charts), "released", name);
  fs.cpSync(path.join(charts, name), own, { recursive: true });
  const templates = path.join(own, "templates");
  for (const file of fs.readdirSync(templates)) {
    const text = fs.readFileSync(path.join(templates, file), "utf8");
    fs.writeFileSync(path.join(templates, file), text.replace(/^ {2}namespace: .*\n/gm, ""));
  }
  return own;
}

for (const one of releasedState(process.env["RELEASE"] ?? "")) {
  if (one.type === "pulumi:pulumi:Stack" || one.type === "pulumi:providers:pulumi") continue;
  made.set(one.urn, register(one));
}

import * as pulumi from "@pulumi/pulumi";
import type { SecretLocation } from "../../components/base/offer";
import { AuthorityCertificate } from "../../components/ground/authority-certificate";
import { Binding, tenantPods } from "../../components/ground/binding";
import { Members } from "../../components/ground/members";
import { OutputsDocument } from "../../components/ground/outputs-document";
import { Quota } from "../../components/ground/quota";
import { Tenant } from "../../components/ground/tenant";
import { Notebook, type NotebookArgs } from "../../components/ml/notebook";
import { TenantRay } from "../../components/ml/ray/tenant";
import type { PlatformConfig } from "../config/schema";
import type { Secrets } from "../config/secrets";
import { notebookUser, rayOf, type TenantGrant, tenantGrants } from "../config/tenants";
import { DOCUMENT } from "../contract/outputs";
import type { PublishedOutputs } from "../contract/publish";
import type { Foundation } from "./foundation";
import { TENANT_APIS } from "./gateway";
import { ACCESS, clientEnv, type Granted, rayAccess, type Systems } from "./grants";

/** A tenant's namespace, and where its Secrets lie. */
interface Guest {
  readonly namespace: pulumi.Output<string>;
  readonly secrets: Readonly<Record<string, SecretLocation>>;
}

/** The namespaces of tenants, with a way to each thing that they use. */
export function tenants(
  config: PlatformConfig,
  secrets: Secrets,
  systems: Systems,
  ground: Foundation,
): Readonly<Record<string, Guest>> {
  const grants = tenantGrants(config);
  const ca = grants.some(({ kind }) => kind !== "ray" && !(kind in TENANT_APIS))
    ? authorityOf(ground)
    : pulumi.output("");
  const made = Object.entries(config.tenants).map(([tenant, { quota, members }]) => {
    const { opts } = ground;
    const { dnsCaches } = config.cluster;
    const { namespace } = new Tenant(tenant, { dnsCaches, meshed: ground.mesh !== undefined }, opts);
    new Quota(`${tenant}-quota`, { namespace, ...quota, loadBalancers: 0, nodePorts: 0 }, opts);
    new Members(`${tenant}-members`, { namespace, groups: members }, opts);
    const pods = tenantPods(tenant, namespace);
    const own = grants.filter((grant) => grant.tenant === tenant);
    const ways = own.flatMap((grant) =>
      grant.kind === "ray" ? [] : [{ grant, access: { ca, ...ACCESS[grant.kind](grant, systems, ground) } }],
    );
    const clusters = own
      .filter(({ kind }) => kind === "ray")
      .map((grant) => rayCluster(grant, namespace, config.tenants, secrets, ways, ground));
    const bindings = [...ways, ...clusters].map(
      ({ grant: { user, secret }, access }) =>
        [secret, new Binding(user, secret, { pods, ...access }, opts).secret] as const,
    );
    const lab = notebook(tenant, namespace, config.tenants, secrets, [...ways, ...clusters], ground);
    const all = Object.fromEntries([...bindings, ...lab]);
    return [tenant, { namespace, secrets: all }] as const;
  });
  return Object.fromEntries(made);
}

/** Puts the outputs of the stack into the namespace of each tenant. */
export function inform(guests: Readonly<Record<string, Guest>>, outputs: PublishedOutputs, { opts }: Foundation): void {
  for (const [tenant, { namespace }] of Object.entries(guests)) {
    const files = { [DOCUMENT]: pulumi.jsonStringify(outputs) };
    new OutputsDocument(`${tenant}-outputs`, { namespace, files }, opts);
  }
}

/** Who signs the certificates of the servers in data-platform. */
function authorityOf({ opts, namespaces, authority }: Foundation): pulumi.Output<string> {
  const args = { namespace: namespaces["data-platform"], authority };
  return new AuthorityCertificate("platform-ca-certificate", args, opts).pem;
}

/** Makes a tenant's Ray cluster, whose tasks may use what else it was granted. */
function rayCluster(
  grant: TenantGrant,
  namespace: pulumi.Output<string>,
  all: PlatformConfig["tenants"],
  secrets: Secrets,
  ways: readonly Granted[],
  { opts, volumeOf, clusterDomain }: Foundation,
): Granted {
  const { head, workers } = rayOf(all, grant);
  const token = secrets.ofTenant(grant.user);
  const cluster = new TenantRay(
    grant.user,
    {
      ...{ namespace, token, workers },
      head: { ...head, volume: volumeOf(head.volume) },
      ...loggedIn(ways),
    },
    opts,
  );
  return { grant, access: rayAccess(grant, cluster, token, clusterDomain) };
}

/** What a pod is given that uses a tenant's grants. */
function loggedIn(ways: readonly Granted[]): Pick<NotebookArgs, "bindings" | "clientEnv" | "talksTo"> {
  return {
    bindings: ways.map(({ grant: { secret } }) => secret),
    clientEnv: clientEnv(ways),
    talksTo: ways.flatMap(({ access }) => access.to),
  };
}

/** Makes a tenant's JupyterLab, if it has one, whose notebooks may use all that it was granted. */
function notebook(
  tenant: string,
  namespace: pulumi.Output<string>,
  all: PlatformConfig["tenants"],
  secrets: Secrets,
  ways: readonly Granted[],
  { opts, volumeOf, isProtected }: Foundation,
): [string, SecretLocation][] {
  const notebooks = all[tenant]?.notebooks;
  if (notebooks === undefined) return [];
  const user = notebookUser(tenant);
  const { login } = new Notebook(
    user,
    {
      ...notebooks,
      namespace,
      volume: volumeOf(notebooks.volume),
      token: secrets.ofTenant(user),
      ...loggedIn(ways),
      protect: isProtected("notebooks"),
    },
    opts,
  );
  return [[login.name, login]];
}

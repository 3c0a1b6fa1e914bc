import { BlockList, isIPv6 } from "node:net";

/** What istiod has of a mesh for its ztunnels, as it prints it: what is empty, false or the first of a list is left out. */
export interface Pushed {
  readonly workloads: readonly Workload[];
  readonly policies: readonly Policy[];
}

/** A pod. */
export interface Workload {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount?: string;
  readonly trustDomain?: string;
  readonly tunnelProtocol?: "HBONE";
  readonly authorizationPolicies?: readonly string[];
}

/** A policy: it matches where one of its groups does, a group where all of its rules do, a rule where one of its matches does. */
export interface Policy {
  readonly name: string;
  readonly namespace: string;
  readonly scope?: "NAMESPACE" | "WORKLOAD_SELECTOR";
  readonly action?: "DENY";
  readonly groups?: readonly { readonly rules?: readonly { readonly matches?: readonly Match[] }[] }[];
}

/** Matches where each of its fields has one that does. */
export interface Match {
  readonly principals?: readonly Text[];
  readonly notPrincipals?: readonly Text[];
  readonly sourceIps?: readonly Network[];
  readonly destinationPorts?: readonly number[];
  readonly notDestinationPorts?: readonly number[];
}
const KNOWN = ["principals", "notPrincipals", "sourceIps", "destinationPorts", "notDestinationPorts"];

interface Text {
  readonly exact?: string;
  readonly presence?: object;
}
interface Network {
  readonly address: string;
  readonly length?: number;
}

/** A connection that comes in: through the mesh, with an identity `DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, or past it. */
export interface Connection {
  readonly identity?: string;
  readonly address: string;
  readonly port: number;
}

/** Whether a ztunnel lets a connection in to a pod with these policies, as its `assert_rbac` decides. */
export function admits(policies: readonly Policy[], connection: Connection): boolean {
  const [denying, allowing] = [policies.filter(isDenial), policies.filter((policy) => !isDenial(policy))];
  if (denying.some((policy) => matches(policy, connection))) return false;
  return allowing.length === 0 || allowing.some((policy) => matches(policy, connection));
}

/** The policies that hold for a pod. */
export function policiesOf({ policies }: Pushed, { namespace, authorizationPolicies = [] }: Workload): Policy[] {
  return policies.filter((policy) => {
    if (policy.scope === undefined) return true;
    if (policy.scope === "NAMESPACE") return policy.namespace === namespace;
    return authorizationPolicies.includes(`${policy.namespace}/${policy.name}`);
  });
}

function isDenial({ action }: Policy): boolean {
  return action === "DENY";
}

function matches({ groups = [] }: Policy, connection: Connection): boolean {
  return groups.some(({ rules = [] }) =>
    rules.every(({ matches = [] }) => matches.length === 0 || matches.some((match) => holds(match, connection))),
  );
}

function holds(match: Match, { identity, address, port }: Connection): boolean {
  const unknown = Object.keys(match).filter((key) => !KNOWN.includes(key));
  if (unknown.length > 0)
    throw new Error(`policies match by ${unknown.join()}: read in ztunnel's rbac.rs what that means`);
  const { principals, notPrincipals, sourceIps, destinationPorts, notDestinationPorts } = match;
  // Of a match that says nothing, ztunnel holds that it does not match.
  if (Object.values(match).every((values) => values.length === 0)) return false;
  const isCaller = ({ exact, presence, ...others }: Text) => {
    if (Object.keys(others).length > 0) throw new Error(`a principal by ${JSON.stringify(others)}: ours are whole`);
    return identity !== undefined && (presence !== undefined || exact === identity);
  };
  const isPort = (one: number) => one === port;
  return (
    among(principals, isCaller) &&
    !(notPrincipals ?? []).some(isCaller) &&
    among(sourceIps, (network) => contains(network, address)) &&
    among(destinationPorts, isPort) &&
    !(notDestinationPorts ?? []).some(isPort)
  );
}

function among<T>(values: readonly T[] = [], holds: (value: T) => boolean): boolean {
  return values.length === 0 || values.some(holds);
}

function contains({ address, length = 0 }: Network, one: string): boolean {
  const bytes = [...Buffer.from(address, "base64")];
  if (bytes.length !== 4) throw new Error(`${address}: is no address of IPv4`);
  const list = new BlockList();
  list.addSubnet(bytes.join("."), length);
  return !isIPv6(one) && list.check(one);
}

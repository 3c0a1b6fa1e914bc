import type * as pulumi from "@pulumi/pulumi";
import type { ExternalPeer } from "./endpoint";

/** How people of a system log in at an OpenID Connect provider. */
export interface SignOn<Role extends string = string> {
  /** Whose tokens count; its discovery document lies below. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: pulumi.Output<string>;
  /** What the client asks for. */
  readonly scopes: readonly string[];
  /** The claim with a person's groups. */
  readonly groupsClaim: string;
  /** The groups of each role. */
  readonly roles: Readonly<Partial<Record<Role, readonly string[] | undefined>>>;
  /** Where the system reaches the provider. */
  readonly provider: readonly ExternalPeer[];
}

/** The claim by which a system knows a person: the same name in each of them. */
export const USERNAME_CLAIM = "preferred_username";

/** Where a provider says of itself what clients must know. */
export function discoveryUrl({ issuer }: Pick<SignOn, "issuer">): string {
  return `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
}

/** The roles of each group. */
export function rolesByGroup<Role extends string>(roles: SignOn<Role>["roles"]): ReadonlyMap<string, Role[]> {
  const found = new Map<string, Role[]>();
  for (const [role, groups = []] of Object.entries(roles) as [Role, readonly string[] | undefined][]) {
    for (const group of groups) found.set(group, [...(found.get(group) ?? []), role]);
  }
  return found;
}

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";

// An index names the image of each platform: its digest is the one that holds on every node.
const MANIFESTS = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** Where an image lies: `valkey/valkey:9.1.4` is repository `valkey/valkey` of Docker Hub. */
export function location(image: string): { registry: string; repository: string; tag: string } {
  const [, name = "", tag = ""] = /^([^@]+):([\w.-]+)(?:@.*)?$/.exec(image) ?? [];
  if (tag === "") throw new pulumi.RunError(`${image}: has no tag; expected <registry>/<name>:<tag>`);
  const [first = "", ...rest] = name.split("/");
  const isHost = rest.length > 0 && /[.:]|^localhost$/.test(first);
  return isHost && first !== "docker.io"
    ? { registry: first, repository: rest.join("/"), tag }
    : { registry: "registry-1.docker.io", repository: isHost ? rest.join("/") : name, tag };
}

/**
 * The digest that an image's tag has in its registry, with the login of `docker login` if there is one; undefined if the
 * registry says that there is no such image. Any other answer is a RunError.
 */
export async function digestOf(image: string): Promise<string | undefined> {
  const { registry, repository, tag } = location(image);
  const scheme = /^(localhost|127\.0\.0\.1)(:|$)/.test(registry) ? "http" : "https";
  const url = `${scheme}://${registry}/v2/${repository}/manifests/${tag}`;
  const ask = async (authorization?: string): Promise<Response> =>
    send(image, url, { method: "HEAD", headers: { accept: MANIFESTS, ...(authorization && { authorization }) } });
  let answer = await ask();
  if (answer.status === 401) answer = await ask(await authorize(image, registry, answer));
  if (answer.status === 404) return undefined;
  const digest = answer.headers.get("docker-content-digest");
  if (answer.ok && digest !== null && /^sha256:[0-9a-f]{64}$/.test(digest)) return digest;
  const what = answer.ok ? `answers without a digest (${digest ?? "none"})` : `answers ${answer.status}`;
  throw new pulumi.RunError(`${image}: ${registry} ${what}; nothing is known of the image, so try again or log in`);
}

/** What the registry wants to see, from its challenge: https://distribution.github.io/distribution/spec/auth/token/ */
async function authorize(image: string, registry: string, refusal: Response): Promise<string> {
  const challenge = refusal.headers.get("www-authenticate") ?? "";
  const login = storedLogin(registry);
  if (/^basic/i.test(challenge) && login !== undefined) return `Basic ${login}`;
  const { realm, ...query } = Object.fromEntries(
    [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]),
  );
  if (!/^bearer/i.test(challenge) || realm === undefined) {
    throw new pulumi.RunError(`${image}: ${registry} wants a login (${challenge}); run \`docker login ${registry}\``);
  }
  const answer = await send(image, `${realm}?${new URLSearchParams(query).toString()}`, {
    headers: login === undefined ? {} : { authorization: `Basic ${login}` },
  });
  if (!answer.ok)
    throw new pulumi.RunError(`${image}: ${realm} answers ${answer.status}; run \`docker login ${registry}\``);
  const { token, access_token } = (await answer.json()) as { token?: string; access_token?: string };
  return `Bearer ${token ?? access_token ?? ""}`;
}

/** The login that `docker login` stores, in Base64. */
function storedLogin(registry: string): string | undefined {
  const directory = process.env["DOCKER_CONFIG"] ?? path.join(os.homedir(), ".docker");
  const file = path.join(directory, "config.json");
  if (!fs.existsSync(file)) return undefined;
  const { auths = {} } = JSON.parse(fs.readFileSync(file, "utf8")) as { auths?: Record<string, { auth?: string }> };
  const name = registry === "registry-1.docker.io" ? "https://index.docker.io/v1/" : registry;
  return auths[name]?.auth;
}

async function send(image: string, url: string, request: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...request, signal: AbortSignal.timeout(30_000) });
  } catch (error) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    throw new pulumi.RunError(`${image}: ${new URL(url).host} does not answer: ${reason}`);
  }
}

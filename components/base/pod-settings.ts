import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { CHART_KEYS, OPERATED_KEYS, type PodKeys } from "./pod-keys";

/** The registries that others stand in for, by their hosts: `docker.io` and the registry or folder in one that has its images. */
export type Mirrors = Readonly<Record<string, string>>;

/** Name of the Secret with the logins of registries in each namespace. */
export const PULL_SECRET = "registry-logins";

/** What a stack says of pods, whoever makes them. */
export interface PodSettings {
  readonly mirrors?: Mirrors;
  /** Whether they name the Secret with the logins of registries. */
  readonly pullSecret?: boolean;
}

/** The name of an image with its registry, which is Docker Hub where it names none. */
export function fullName(image: string): string {
  if (/^(localhost|[^/]*[.:][^/]*)\//.test(image)) return image;
  return image.includes("/") ? `docker.io/${image}` : `docker.io/library/${image}`;
}

/** What begins with a registry's host, at the mirror of that if there is one. */
export function mirrored(name: string, mirrors: Mirrors): string {
  const [host = "", ...rest] = name.split("/");
  return [mirrors[host] ?? host, ...rest].join("/");
}

/**
 * Applies settings to all pods below the resource that has this transformation: to templates of ours as they are, to those of
 * charts and operators by their own keys.
 */
export function podSettings(settings: PodSettings): pulumi.ResourceTransformation {
  const ofPods = (value: unknown) => everywhere(value, settings);
  return ({ type, props, opts }) => {
    const given = props as Inputs;
    if (type === "kubernetes:helm.sh/v3:Release") {
      const keys = CHART_KEYS[path.basename(given["chart"] as string)] ?? {};
      return { props: { ...given, values: withKeys(given["values"], keys, settings) }, opts };
    }
    if (!type.startsWith("kubernetes:") || type.endsWith(":CustomResourceDefinition")) return undefined;
    return { props: withKeys(ofPods(given), OPERATED_KEYS[type] ?? {}, settings) as Inputs, opts };
  };
}

type Inputs = Readonly<Record<string, unknown>>;

/** Changes every pod template and every image in an object. */
function everywhere(value: unknown, settings: PodSettings): unknown {
  if (pulumi.Output.isInstance(value)) return value.apply((inner) => everywhere(inner, settings));
  if (Array.isArray(value)) return value.map((one) => everywhere(one, settings));
  if (!isMap(value)) return value;
  const changed = Object.entries(value).map(([key, inner]) => [
    key,
    IMAGES.includes(key) && typeof inner === "string" ? imageAt(inner, settings) : everywhere(inner, settings),
  ]);
  const { pullSecret } = settings;
  return {
    ...Object.fromEntries(changed),
    ...(Array.isArray(value["containers"]) && pullSecret && { imagePullSecrets: [{ name: PULL_SECRET }] }),
  };
}

const IMAGES = ["image", "imageName"];

function imageAt(image: string, { mirrors = {} }: PodSettings): string {
  const full = fullName(image);
  const found = mirrored(full, mirrors);
  return found === full ? image : found;
}

/** Values with the settings at the keys that take them. */
function withKeys(values: unknown, keys: PodKeys, { mirrors = {}, pullSecret }: PodSettings): unknown {
  const { images = {}, pullSecrets = [], pullSecretNames = [] } = keys;
  const set = [
    ...Object.entries(images).flatMap(([key, name]) => {
      const found = mirrored(name, mirrors);
      return found === name ? [] : [[key, found] as const];
    }),
    ...(pullSecret
      ? [
          ...pullSecrets.map((key) => [key, [{ name: PULL_SECRET }]] as const),
          ...pullSecretNames.map((key) => [key, [PULL_SECRET]] as const),
        ]
      : []),
  ];
  return set.reduce((all, [key, value]) => withValue(all, key.split("."), value), values);
}

function withValue(values: unknown, [key, ...below]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  const map = isMap(values) ? values : {};
  return { ...map, [key]: withValue(map[key], below, value) };
}

function isMap(value: unknown): value is Inputs {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

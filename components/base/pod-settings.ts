import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type { ChartDeclaration } from "./chart-release";
import { type Outside, outward } from "./outside";
import { CHART_KEYS, OPERATED_KEYS, type PodKeys } from "./pod-keys";
import type { Wiring } from "./wiring";

/** The registries that others stand in for, by their hosts: `docker.io` and the registry or folder in one that has its images. */
export type Mirrors = Readonly<Record<string, string>>;

/** Digests of images, `sha256:…`, by the names with which pods pull them, registry and tag included. */
export type ImageLock = Readonly<Record<string, string>>;

/** The digests in a file that `npm run images:lock` has written; none without it. */
export function imageLock(file: string): ImageLock {
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as ImageLock) : {};
}

/** Name of the Secret with the logins of registries in each namespace. */
export const PULL_SECRET = "registry-logins";

/** A taint that pods put up with. */
export interface TaintMatch {
  readonly key: string;
  /** @default any */
  readonly value?: string | undefined;
  /** @default any */
  readonly effect?: string | undefined;
}

/** What a stack says of pods, whoever makes them. */
export interface PodSettings {
  readonly mirrors?: Mirrors;
  /** Of those in it, pods pull exactly the image that had the tag when it was written. */
  readonly lock?: ImageLock;
  /** Whether they name the Secret with the logins of registries. */
  readonly pullSecret?: boolean;
  /** Labels of the nodes where they run, but for pods with a selector of their own. */
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly TaintMatch[];
  /** What templates of ours are given whose pods go outside the cluster; charts have keys of their own for it. */
  readonly outside?: { readonly by: Outside; readonly wiring: Wiring };
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
    if (type === "carbon:base:ChartRelease") {
      return { props: { ...given, declares: declared(given["declares"] as ChartDeclaration, settings) }, opts };
    }
    if (!type.startsWith("kubernetes:") || type.endsWith(":CustomResourceDefinition")) return undefined;
    return { props: withKeys(ofPods(given), OPERATED_KEYS[type] ?? {}, settings) as Inputs, opts };
  };
}

type Inputs = Readonly<Record<string, unknown>>;

/** Changes every pod template and every image in an object. */
export function everywhere(value: unknown, settings: PodSettings): unknown {
  if (pulumi.Output.isInstance(value)) return value.apply((inner) => everywhere(inner, settings));
  if (Array.isArray(value)) return value.map((one) => everywhere(one, settings));
  if (!isMap(value)) return value;
  const changed = Object.entries(value).map(([key, inner]) => [
    key,
    IMAGE_KEYS.includes(key) && typeof inner === "string" ? imageAt(inner, settings) : everywhere(inner, settings),
  ]);
  if (isTemplate(value)) return leaving(Object.fromEntries(changed) as Template, settings);
  if (!Array.isArray(value["containers"])) return Object.fromEntries(changed);
  const { nodeSelector, tolerations = [] } = scheduling(settings);
  const own = (value["tolerations"] ?? []) as readonly object[];
  return {
    ...(nodeSelector && { nodeSelector }),
    ...Object.fromEntries(changed),
    ...(tolerations.length > 0 && { tolerations: [...own, ...tolerations] }),
    ...(settings.pullSecret && { imagePullSecrets: [{ name: PULL_SECRET }] }),
  };
}

interface Template {
  readonly metadata: { readonly labels: Readonly<Record<string, string>>; readonly annotations?: object };
  readonly spec: { readonly [part: string]: unknown };
}

function isTemplate(value: Inputs): boolean {
  const { metadata, spec } = value;
  return isMap(metadata) && isMap(metadata["labels"]) && isMap(spec) && Array.isArray(spec["containers"]);
}

/** A template with what its pods need to go outside; what a component says of a variable stays. */
function leaving(template: Template, { outside }: PodSettings): unknown {
  if (outside === undefined) return template;
  const { metadata, spec } = template;
  const { env, annotations, volumes, mounts } = outward(outside.by, outside.wiring.outsideOf(metadata.labels));
  if (Object.keys(env).length === 0) return template;
  const list = (part: unknown) => (part ?? []) as readonly Inputs[];
  const told = (container: Inputs): Inputs => {
    const own = list(container["env"]);
    const added = Object.entries(env).filter(([name]) => !own.some((one) => one["name"] === name));
    return {
      ...container,
      env: [...own, ...added.map(([name, value]) => ({ name, value }))],
      volumeMounts: [...list(container["volumeMounts"]), ...mounts],
    };
  };
  return {
    ...template,
    metadata: { ...metadata, annotations: { ...metadata.annotations, ...annotations } },
    spec: {
      ...spec,
      containers: list(spec["containers"]).map(told),
      ...(spec["initContainers"] !== undefined && { initContainers: list(spec["initContainers"]).map(told) }),
      volumes: [...list(spec["volumes"]), ...volumes],
    },
  };
}

interface Scheduling {
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly object[];
}

/** The part of a pod's specification that says where it runs; empty where the settings say nothing. */
function scheduling({ nodeSelector = {}, tolerations = [] }: PodSettings): Scheduling {
  return {
    ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    ...(tolerations.length > 0 && { tolerations: tolerationsOf(tolerations) }),
  };
}

/** Taints that pods put up with, as Kubernetes has them. */
export function tolerationsOf(taints: readonly TaintMatch[]) {
  return taints.map(({ key, value, effect }) => ({
    key,
    ...(value === undefined ? { operator: "Exists" } : { operator: "Equal", value }),
    ...(effect !== undefined && { effect }),
  }));
}

/** The pods that a chart declares, which capacity counts; agents run on every node. */
function declared({ workloads, hooks = [], ...others }: ChartDeclaration, settings: PodSettings): ChartDeclaration {
  const where = scheduling(settings);
  return {
    ...others,
    workloads: workloads.map((one) => (one.kind === "DaemonSet" ? one : { ...where, ...one })),
    hooks: hooks.map((hook) => ({ ...hook, ...where })),
  };
}

/** Where pod templates and custom resources name an image whole. */
export const IMAGE_KEYS: readonly string[] = ["image", "imageName"];

function imageAt(image: string, { mirrors = {}, lock = {} }: PodSettings): string {
  const full = fullName(image);
  const found = mirrored(full, mirrors);
  const digest = lock[found];
  if (digest !== undefined) return `${found}@${digest}`;
  return found === full ? image : found;
}

/** Values with the settings at the keys that take them. */
function withKeys(values: unknown, keys: PodKeys, settings: PodSettings): unknown {
  const { mirrors = {}, pullSecret } = settings;
  const { images = {}, pullSecrets = [], pullSecretNames = [], placed = [], placedByText = [] } = keys;
  const { placedByAffinity = [] } = keys;
  const where = scheduling(settings);
  const set: (readonly [string, unknown])[] = [
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
    ...placed.flatMap((part) => Object.entries(where).map(([key, value]) => [`${part}${key}`, value] as const)),
    ...placedByText.flatMap((part) =>
      Object.entries(where).map(([key, value]) => [`${part}${key}`, JSON.stringify(value)] as const),
    ),
    ...placedByAffinity.flatMap((part) =>
      Object.entries(affine(where)).map(([key, value]) => [`${part}${key}`, value] as const),
    ),
  ];
  return set.reduce((all, [key, value]) => withValue(all, key.split("."), value), values);
}

/** The same where pods have affinities and no selector. */
function affine({ nodeSelector, ...where }: Scheduling): object {
  if (nodeSelector === undefined) return where;
  const matchExpressions = Object.entries(nodeSelector).map(([key, value]) => ({
    key,
    operator: "In",
    values: [value],
  }));
  const required = { nodeSelectorTerms: [{ matchExpressions }] };
  return { ...where, affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } } };
}

function withValue(values: unknown, [key, ...below]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  const map = isMap(values) ? values : {};
  return { ...map, [key]: withValue(map[key], below, value) };
}

function isMap(value: unknown): value is Inputs {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

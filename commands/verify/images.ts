import type { V1Pod } from "@kubernetes/client-node";
import { imagesIn } from "../../rehearsal/program/images";
import type { Fault, Question } from "./check";
import { type ClusterView, ENDED, nameOf } from "./cluster";
import { type Expected, type ExpectedObject, title } from "./expected";

/** Whether pods run the images that the program names, and operators the versions. Charts' own images are not compared. */
export function images({ stack, objects, namespaces }: Expected, cluster: ClusterView): Question[] {
  const declared = new Set(objects.flatMap(({ inputs }) => imagesIn(inputs)));
  const byRepository = new Map([...declared].map((image) => [repositoryOf(image), image]));
  return [
    {
      topic: "versions",
      name: "images of pods",
      ask: async () => {
        const running = (await cluster.pods()).filter(
          ({ metadata, status }) => namespaces.includes(metadata?.namespace ?? "") && !ENDED.has(status?.phase ?? ""),
        );
        const known = running.flatMap(containersOf).filter(({ image }) => byRepository.has(repositoryOf(image)));
        const others = known.filter(({ image }) => !declared.has(image));
        return {
          found: `${known.length - others.length} of ${known.length} containers run the program's`,
          faults: others.map(({ container, image }): Fault => ({
            what: `${container} runs ${image}, the program names ${byRepository.get(repositoryOf(image))}`,
            next: `npx pulumi up -s ${stack} --refresh --run-program, and wait until the old pods are gone`,
          })),
        };
      },
    },
    ...objects.flatMap((object) => versionOf(object, cluster)),
  ];
}

function containersOf(pod: V1Pod): { readonly container: string; readonly image: string }[] {
  const { initContainers = [], containers = [] } = pod.spec ?? {};
  return [...initContainers, ...containers].map(({ name, image = "" }) => ({
    container: `${nameOf(pod)}, container ${name}`,
    image,
  }));
}

/** An image's name without its tag and digest. */
function repositoryOf(image: string): string {
  return image.replace(/@.*$/, "").replace(/:[^:/]*$/, "");
}

interface Versioned {
  readonly spec?: { readonly version?: string; readonly kafka?: { readonly version?: string } };
  readonly status?: { readonly version?: string; readonly kafkaVersion?: string };
}

/** Of the custom resources that say which version their operator runs. */
function versionOf(object: ExpectedObject, cluster: ClusterView): Question[] {
  if (object.kind !== "Kafka" && object.kind !== "Elasticsearch") return [];
  const { spec } = object.inputs as Versioned;
  const wanted = spec?.kafka?.version ?? spec?.version ?? "";
  return [
    {
      topic: "versions",
      name: title(object),
      ask: async () => {
        const { status } = ((await cluster.read(object)) ?? {}) as Versioned;
        const found = status?.kafkaVersion ?? status?.version ?? "none";
        const next = `kubectl get ${object.kind.toLowerCase()} -n ${object.namespace} ${object.name} -o yaml shows what its operator waits for`;
        return {
          found,
          faults: found === wanted ? [] : [{ what: `runs ${found}, the program names ${wanted}`, next }],
        };
      },
    },
  ];
}

import { z } from "zod";
import { registry } from "./shapes";

const host = z
  .string()
  .regex(/^[a-z0-9.-]+(:[0-9]+)?$/, "expected the host of a registry such as docker.io, without a folder");

/** Where images come from. */
export const Images = z.strictObject({
  registries: z.array(registry).min(1).optional().meta({
    description:
      "Where images may come from; the API server refuses pods with others. Their mirrors stand in for them. Default: anywhere",
  }),
  mirrors: z.record(host, registry).default({}).meta({
    description:
      "Registries, or folders in one, that hold the images of others, such as docker.io: registry.example.com/dockerhub; nodes ask these alone (docs/images.md)",
  }),
  lock: z.string().min(1).default("images.lock.json").meta({
    description: "File with the digests of images, which `npm run images:lock` writes; without it, pods pull by tag",
  }),
  pullSecret: z.boolean().default(false).meta({
    description: "Whether a registry wants a login; the credential is carbon:registryLogins",
  }),
});

import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { type PartOf, partsOf } from "../config/systems";
import { secretReference } from "./shapes";

type Outputs = PartOf<"outputs">;
type SecretOf<T> = T extends unknown ? Extract<keyof T, string> : never;
type PublishedSecret = SecretOf<PartOf<"secrets">[keyof PartOf<"secrets">]>;

const systems = Object.fromEntries(partsOf("outputs").map(([name, output]) => [name, output.optional()])) as {
  [Name in keyof Outputs]: z.ZodOptional<Outputs[Name]>;
};
const secrets = Object.fromEntries(
  partsOf("secrets").flatMap(([, keys]) => Object.keys(keys).map((key) => [key, secretReference.optional()])),
) as Record<PublishedSecret, z.ZodOptional<typeof secretReference>>;

/**
 * The public contract of a stack for other teams and stacks, with the outputs of each deployed system. A removed or changed
 * key raises `contract`.
 */
export const PlatformOutputs = z.strictObject({
  contract: z.literal(1),
  ...systems,
  secrets: z.strictObject(secrets),
  /** The versions that clients must match. */
  versions: z.strictObject({ ray: z.string(), python: z.string(), mlflow: z.string() }),
});

/** T, any part of which may be an Output. */
export type Lifted<T> = pulumi.Input<T extends object ? { [K in keyof T]: Lifted<T[K]> } : T>;
export type PlatformOutputs = {
  [K in keyof z.output<typeof PlatformOutputs>]: Lifted<z.output<typeof PlatformOutputs>[K]>;
};

import type { Registration } from "../../rehearsal/program/evaluate";

/** A registration of which a test cares for the type, the name and the inputs alone. */
export function registrationOf(type: string, name: string, inputs: object): Registration {
  const none = { urn: name, parent: "", provider: "", dependencies: [], protect: false };
  return { ...none, type, name, inputs: { ...inputs }, custom: true, read: false, path: [name] };
}

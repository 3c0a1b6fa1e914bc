import assert from "node:assert/strict";
import { all, only, type Registered } from "../support/mocks";
import { ourPods, selected } from "../support/manifests";
import { program, SHAPES } from "../support/program";

const SECRET = "kubernetes:core/v1:Secret";

/** The clients of PostgreSQL by the wiring table, without those that are part of the server. */
function clients(seen: readonly Registered[]): any[] {
  const rows: any[] = only(seen, "carbon:base:Wires").inputs.wires;
  const wires = rows.filter(({ to, ports }) => to.name === "postgres" && ports.map(Number).includes(5432));
  return wires.map(({ from }) => from).filter(({ name }) => !["cnpg", "postgres"].includes(name));
}

/** The files of a volume that show a client whom to trust. */
function isTrust({ secret }: any): boolean {
  return secret?.secretName === "postgres-tls" && secret.items.some(({ path }: any) => path === "ca.crt");
}

/** Every volume that is described anywhere in an object. */
function volumesIn(value: any): any[] {
  if (typeof value !== "object" || value === null) return [];
  return [...(value.secret?.secretName === undefined ? [] : [value]), ...Object.values(value).flatMap(volumesIn)];
}

/** Every path at which something is mounted, by the name of the volume. */
function mountsIn(value: any): any[] {
  if (typeof value !== "object" || value === null) return [];
  return [...(value.mountPath === undefined ? [] : [value]), ...Object.values(value).flatMap(mountsIn)];
}

for (const shape of SHAPES) {
  describe(`clients of PostgreSQL in ${shape}`, () => {
    it("verify the server and its name, and none only encrypts", async () => {
      const { seen } = await program(shape);
      const found = seen.flatMap(({ inputs, name }) =>
        [...JSON.stringify(inputs).matchAll(/sslmode(?:","value)?\W+([\w-]+)/gi)].map(([, mode]) => [name, mode]),
      );
      assert.ok(found.length >= 10, "there are addresses to look at");
      const trusting = found.filter(([, mode]) => mode !== "verify-full").map(([name, mode]) => `${name}: ${mode}`);
      assert.deepEqual(trusting, [], "these do not verify whom they talk to");
    });

    it("have the CA in every pod, and mount it where their addresses say that it lies", async () => {
      const { seen } = await program(shape);
      const pods = ourPods(seen);
      const releases = all(seen, "kubernetes:helm.sh/v3:Release");
      const found = clients(seen);
      assert.ok(found.length >= 10, "there are clients to look at");
      for (const { name: client, namespace, labels } of found) {
        const described = [
          ...selected(pods, namespace, labels).map(({ template }) => template.spec),
          ...releases
            .filter(({ name }) => client === name || client.startsWith(`${name}-`))
            .map((one) => one.inputs.values),
        ];
        assert.ok(described.length > 0, `${client}: nothing describes its pods`);
        for (const one of described) {
          const trusts = volumesIn(one)
            .filter(isTrust)
            .map(({ name }) => name);
          assert.ok(trusts.length > 0, `${client} does not mount the CA of PostgreSQL`);
          const read = /sslrootcert(?:","value)?\W+(\/[\w/.-]+)/gi;
          const secrets = JSON.stringify(one).match(/(?<="secretRef":\{"name":")[^"]+/g) ?? [];
          const texts = [one, ...secrets.map((name) => only(seen, SECRET, name).inputs.stringData)];
          const files = texts.flatMap((text) => [...JSON.stringify(text).matchAll(read)].map(([, file]) => file));
          const mounted = mountsIn(one)
            .filter(({ name }) => trusts.includes(name))
            .map(({ mountPath }) => `${String(mountPath)}/ca.crt`);
          for (const file of files)
            assert.ok(mounted.includes(String(file)), `${client}: ${String(file)} is not there`);
        }
      }
    });

    it("call it by a name that its certificate has", async () => {
      const { seen } = await program(shape);
      const { dnsNames } = only(seen, "kubernetes:cert-manager.io/v1:Certificate", "postgres-tls").inputs.spec;
      const hosts = seen.flatMap(({ inputs }) =>
        [...JSON.stringify(inputs).matchAll(/postgres-rw[\w.-]*/g)].map(([host]) => host.replace(/\.$/, "")),
      );
      assert.ok(hosts.length >= 10, "there are addresses to look at");
      for (const host of new Set(hosts)) assert.ok(dnsNames.includes(host), host);
    });
  });
}

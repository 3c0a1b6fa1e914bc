import assert from "node:assert/strict";
import type { Manifest } from "../../rehearsal/operators/operator";
import { knownSecrets, secretFaults, secretReferences } from "../../rehearsal/program/secret-references";
import { objects } from "../support/manifests";
import { all } from "../support/mocks";
import { program, ALL_SHAPES } from "../support/program";

for (const shape of ALL_SHAPES) {
  it(`every Secret that ${shape} reads is made, with the keys that are read`, async () => {
    const { seen } = await program(shape);
    const releases = all(seen, "kubernetes:helm.sh/v3:Release").map(({ name, inputs: { namespace, values } }) => ({
      ...{ apiVersion: "helm.sh/v3", kind: "Release", metadata: { name, namespace }, values },
    }));
    const made: Manifest[] = [...objects(seen).map(({ inputs }) => inputs as Manifest), ...releases];
    assert.deepEqual(secretFaults(made, knownSecrets(made)), []);
    const references = made.flatMap((object) => secretReferences(object));
    assert.ok(references.length > 10, "there are references to follow");
  });
}

describe("the check of Secrets", () => {
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "login", namespace: "a" },
    stringData: { user: "" },
  };
  const pod = (spec: object) => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "a" }, spec });
  const env = (ref: object) => pod({ containers: [{ env: [{ name: "X", valueFrom: { secretKeyRef: ref } }] }] });
  const certificate = {
    apiVersion: "cert-manager.io/v1",
    kind: "Certificate",
    metadata: { name: "server", namespace: "a" },
    spec: {
      secretName: "server-tls",
      keystores: { pkcs12: { create: true, passwordSecretRef: { name: "login", key: "user" } } },
    },
  };
  const user = {
    apiVersion: "kafka.strimzi.io/v1",
    kind: "KafkaUser",
    metadata: { name: "trino", namespace: "a" },
    spec: { authentication: { type: "scram-sha-512" } },
  };
  const known = knownSecrets([secret, certificate, user]);

  const found: Record<string, Manifest> = {
    "a key of an environment variable": env({ name: "login", key: "user" }),
    "one that may be missing": env({ name: "absent", key: "user", optional: true }),
    "a whole Secret as environment": pod({ containers: [{ envFrom: [{ secretRef: { name: "login" } }] }] }),
    "what cert-manager issues": pod({
      volumes: [{ secret: { secretName: "server-tls", items: [{ key: "truststore.p12" }] } }],
    }),
    "what Strimzi makes of a user": env({ name: "trino", key: "sasl.jaas.config" }),
    "the password of a keystore": certificate,
  };
  for (const [what, object] of Object.entries(found)) {
    it(`finds ${what}`, () => {
      assert.deepEqual(secretFaults([object], known), []);
    });
  }

  const missing: Record<string, [Manifest, string]> = {
    "a key": [env({ name: "login", key: "password" }), "Pod a/p: reads key password of Secret login, which has user"],
    "a Secret": [
      env({ name: "absent", key: "user" }),
      "Pod a/p: reads Secret absent, which nothing makes; in a there are login, server-tls, trino",
    ],
    "a Secret of another namespace": [
      { ...env({ name: "login", key: "user" }), metadata: { name: "p", namespace: "b" } },
      "Pod b/p: reads Secret login, which nothing makes; in b there are none",
    ],
    "a Secret for the whole environment of a container that prepares": [
      pod({ initContainers: [{ envFrom: [{ secretRef: { name: "absent" } }] }] }),
      "Pod a/p: reads Secret absent, which nothing makes; in a there are login, server-tls, trino",
    ],
    "a file of a volume": [
      pod({ volumes: [{ secret: { secretName: "server-tls", items: [{ key: "keystore.jks" }] } }] }),
      "Pod a/p: reads key keystore.jks of Secret server-tls, which has ca.crt, keystore.p12, tls.crt, tls.key, truststore.p12",
    ],
    "a file of a projected volume": [
      pod({ volumes: [{ projected: { sources: [{ secret: { name: "login", items: [{ key: "file" }] } }] } }] }),
      "Pod a/p: reads key file of Secret login, which has user",
    ],
    "a login to a registry": [
      pod({ imagePullSecrets: [{ name: "registry" }] }),
      "Pod a/p: reads Secret registry, which nothing makes; in a there are login, server-tls, trino",
    ],
    "a key that the values of a chart name": [
      {
        ...{ apiVersion: "helm.sh/v3", kind: "Release", metadata: { name: "p", namespace: "a" } },
        values: { password: { secretRef: "login", secretKey: "pass" }, admin: { existingSecret: "login" } },
      },
      "Release a/p: reads key pass of Secret login, which has user",
    ],
    "what a custom resource names": [
      { ...pod({ managed: { passwordSecret: { name: "absent" } } }), kind: "Cluster" },
      "Cluster a/p: reads Secret absent, which nothing makes; in a there are login, server-tls, trino",
    ],
  };
  for (const [what, [object, fault]] of Object.entries(missing)) {
    it(`names ${what} that is missing, with its reader and what there is`, () => {
      assert.deepEqual(secretFaults([object], known), [fault]);
    });
  }
});

import { type CaReference, platform } from "@254carbon/platform-outputs";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

// A service that reads prices from Kafka, asks Feast and MLflow for features and models, and keeps its results in PostgreSQL.
const config = new pulumi.Config();
const stack = new pulumi.StackReference(config.get("platform") ?? "organization/carbon/prod");
const { feast, kafka, mlflow, postgres } = platform(stack, ["feast", "kafka", "mlflow", "postgres"]);

const CA_DIRECTORY = "/etc/platform-ca";
const labels = { app: "pricing" };
// The CAs and the Kafka user's password lie here: pods can mount the Secrets of their own namespace alone.
const namespace = "data-platform";

const settings = new k8s.core.v1.ConfigMap("pricing", {
  metadata: { name: "pricing", namespace },
  data: {
    MLFLOW_TRACKING_URI: mlflow.url,
    FEAST_URL: feast.http.url,
    KAFKA_BOOTSTRAP_SERVERS: pulumi.interpolate`${kafka.host}:${kafka.port}`,
    KAFKA_SECURITY_PROTOCOL: kafka.tls.apply((tls) => (tls ? "SASL_SSL" : "SASL_PLAINTEXT")),
    KAFKA_SASL_MECHANISM: kafka.auth.apply((auth) => auth.toUpperCase()),
    KAFKA_SSL_CA: `${CA_DIRECTORY}/kafka.crt`,
    PGHOST: postgres.host,
    PGPORT: pulumi.interpolate`${postgres.port}`,
    PGSSLMODE: postgres.sslmode,
    PGSSLROOTCERT: `${CA_DIRECTORY}/postgres.crt`,
  },
});

const authorities = pulumi
  .all([kafka.ca, postgres.ca])
  .apply(([kafkaCa, postgresCa]) => [...mounted("kafka.crt", kafkaCa), ...mounted("postgres.crt", postgresCa)]);

new k8s.apps.v1.Deployment("pricing", {
  metadata: { name: "pricing", namespace },
  spec: {
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "pricing",
            image: "ghcr.io/254carbon/pricing:1.0.0",
            envFrom: [{ configMapRef: { name: settings.metadata.name } }],
            env: [
              { name: "KAFKA_SASL_USERNAME", value: "pricing" },
              {
                name: "KAFKA_SASL_PASSWORD",
                // Made for `kafka.clients.pricing` of the platform's stack file.
                valueFrom: { secretKeyRef: { name: "kafka-user-pricing", key: "password" } },
              },
            ],
            volumeMounts: [{ name: "platform-ca", mountPath: CA_DIRECTORY, readOnly: true }],
            resources: {
              requests: { cpu: "100m", memory: "256Mi", "ephemeral-storage": "64Mi" },
              limits: { cpu: "500m", memory: "512Mi", "ephemeral-storage": "64Mi" },
            },
            securityContext: {
              allowPrivilegeEscalation: false,
              capabilities: { drop: ["ALL"] },
              readOnlyRootFilesystem: true,
            },
          },
        ],
        volumes: [{ name: "platform-ca", projected: { sources: authorities } }],
      },
    },
  },
});

function mounted(file: string, ca: CaReference | undefined): k8s.types.input.core.v1.VolumeProjection[] {
  if (ca === undefined) return []; // no TLS, or a public CA signed
  const source = { name: ca.name, items: [{ key: ca.key, path: file }] };
  return [ca.kind === "Secret" ? { secret: source } : { configMap: source }];
}

import { tenant } from "@254carbon/platform-outputs";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

// A service that reads prices from Kafka, asks MLflow for models, and keeps its results in PostgreSQL: with the logins that its
// tenant was granted (docs/tenants.md), and with no rights outside the tenant's namespace.
const config = new pulumi.Config();
const stack = new pulumi.StackReference(config.get("platform") ?? "organization/carbon/prod");
const GRANTS = ["database-pricing", "topic-data-ingestion", "mlflow"] as const;
const { namespace, secrets } = tenant(stack, "pricing", GRANTS);

const BINDINGS = "/bindings";
const labels = { app: "pricing" };
const binding = (grant: (typeof GRANTS)[number], key: string) => ({
  valueFrom: { secretKeyRef: { name: secrets[grant].name, key } },
});

new k8s.apps.v1.Deployment("pricing", {
  metadata: { name: "pricing", namespace },
  spec: {
    selector: { matchLabels: labels },
    template: {
      // By this label the platform knows the pods of a tenant that use it.
      metadata: { labels: { ...labels, "254carbon.com/platform-client": "true" } },
      spec: {
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "pricing",
            image: "ghcr.io/254carbon/pricing:1.0.0",
            env: [
              { name: "SERVICE_BINDING_ROOT", value: BINDINGS },
              { name: "PGHOST", ...binding("database-pricing", "host") },
              { name: "PGPORT", ...binding("database-pricing", "port") },
              { name: "PGDATABASE", ...binding("database-pricing", "database") },
              { name: "PGUSER", ...binding("database-pricing", "username") },
              { name: "PGPASSWORD", ...binding("database-pricing", "password") },
              { name: "PGSSLMODE", ...binding("database-pricing", "sslmode") },
              { name: "PGSSLROOTCERT", value: `${BINDINGS}/database-pricing/ca.crt` },
              { name: "MLFLOW_TRACKING_URI", ...binding("mlflow", "uri") },
              { name: "MLFLOW_TRACKING_TOKEN", ...binding("mlflow", "password") },
              { name: "MLFLOW_TRACKING_SERVER_CERT_PATH", value: `${BINDINGS}/mlflow/ca.crt` },
              // Kafka's client is configured in the code, of the files of topic-data-ingestion.
            ],
            volumeMounts: GRANTS.map((name) => ({ name, mountPath: `${BINDINGS}/${name}`, readOnly: true })),
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
        volumes: GRANTS.map((name) => ({ name, secret: { secretName: secrets[name].name } })),
      },
    },
  },
});

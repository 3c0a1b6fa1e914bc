import type { PlatformConfig } from "../../stacks/config/schema";

const TENANT = {
  quota: {
    ...{ cpu: { request: 4, limit: 8 }, memoryGiB: { request: 8, limit: 16 } },
    ...{ pods: 20, services: 20, claims: 10, storageGiB: 10 },
    container: {
      cpu: { request: 0.1, limit: 1, max: 4 },
      memoryMiB: { request: 128, limit: 512, max: 4096 },
    },
  },
};

const SIZE = { cpu: { request: 0.25, limit: 1 }, memoryMiB: { request: 1024, limit: 2048 } };

/** Two tenants who share a bucket, of which one writes. */
export const TENANTS: PlatformConfig["tenants"] = {
  pricing: {
    ...TENANT,
    members: ["pricing"],
    ray: {
      head: { ...SIZE, volume: { sizeGiB: 5 } },
      workers: { ...SIZE, min: 1, max: 2 },
    },
    notebooks: { size: SIZE, volume: { sizeGiB: 5 } },
    uses: [
      { kind: "bucket", name: "prices", access: "write" },
      { kind: "database", name: "pricing", access: "write" },
      { kind: "topic", name: "data-ingestion", access: "write" },
      { kind: "search", name: "pricing-*", access: "write" },
      { kind: "catalog", name: "pricing", access: "write" },
      { kind: "mlflow", name: "mlflow", access: "write" },
      { kind: "features", name: "features", access: "write" },
      { kind: "ray", name: "ray", access: "write" },
      { kind: "serve", name: "serve", access: "write" },
    ],
  },
  trading: {
    ...TENANT,
    members: ["trading", "risk"],
    uses: [
      { kind: "bucket", name: "prices", access: "read" },
      { kind: "database", name: "orders", access: "write" },
      { kind: "topic", name: "data-ingestion", access: "read" },
      { kind: "serve", name: "serve", access: "write" },
    ],
  },
};

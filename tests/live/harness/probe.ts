import * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import { credentials, Client } from "@grpc/grpc-js";
import type { Sandbox } from "./sandbox";

/** Where a probe is asked. */
export interface Target {
  readonly address: string;
  readonly container: any;
  readonly sandbox: Sandbox;
}

/** Asks a probe once, as the kubelet does; rejects with what was wrong. */
export async function ask(probe: any, { address, container, sandbox }: Target): Promise<void> {
  const { httpGet, tcpSocket, exec, grpc, timeoutSeconds = 1 } = probe;
  const milliseconds = timeoutSeconds * 1000;
  if (httpGet) return get(address, portOf(container, httpGet.port), httpGet, milliseconds);
  if (tcpSocket) return connect(address, portOf(container, tcpSocket.port), milliseconds);
  if (grpc) return health(`${address}:${grpc.port}`, grpc.service ?? "", milliseconds);
  await sandbox.exec(exec.command, { timeoutSeconds });
}

/** The number of a port, given by name or number. */
export function portOf(container: any, port: string | number): number {
  if (typeof port === "number") return port;
  const named = (container.ports ?? []).find(({ name }: any) => name === port);
  if (named === undefined) throw new Error(`container ${container.name} has no port ${port}`);
  return named.containerPort;
}

function get(
  host: string,
  port: number,
  { path = "/", scheme, httpHeaders = [] }: any,
  timeout: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = Object.fromEntries(httpHeaders.map(({ name, value }: any) => [name, value]));
    const answered = (response: http.IncomingMessage): void => {
      response.resume();
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 400) resolve();
      else reject(new Error(`GET ${host}:${port}${path} answered ${statusCode}`));
    };
    const options = { host, port, path, headers, timeout };
    // The kubelet verifies no certificate.
    const request =
      scheme === "HTTPS" ? https.get({ ...options, rejectUnauthorized: false }, answered) : http.get(options, answered);
    request.once("timeout", () => request.destroy(new Error(`GET ${host}:${port}${path}: nothing in ${timeout} ms`)));
    request.once("error", reject);
  });
}

function connect(host: string, port: number, timeout: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, timeout }, () => {
      socket.destroy();
      resolve();
    });
    socket.once("timeout", () => socket.destroy(new Error(`${host}:${port}: nothing in ${timeout} ms`)));
    socket.once("error", reject);
  });
}

const SERVING = Buffer.from([8, 1]); // HealthCheckResponse { status: SERVING }

function health(address: string, service: string, milliseconds: number): Promise<void> {
  const name = Buffer.from(service);
  const request = name.length === 0 ? name : Buffer.concat([Buffer.from([10, name.length]), name]);
  const client = new Client(address, credentials.createInsecure());
  const bytes = (value: Buffer): Buffer => value;
  return new Promise<void>((resolve, reject) => {
    const options = { deadline: Date.now() + milliseconds };
    client.makeUnaryRequest("/grpc.health.v1.Health/Check", bytes, bytes, request, options, (error, answer) => {
      if (error !== null) reject(error);
      else if (answer?.equals(SERVING)) resolve();
      else reject(new Error(`${address} is not serving`));
    });
  }).finally(() => {
    client.close();
  });
}

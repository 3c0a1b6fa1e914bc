import * as fs from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { mayIsolate } from "./isolated";

/** Debian packages, and a program that each brings. */
const PACKAGES: Readonly<Record<string, string>> = {
  containerd: "/usr/bin/containerd",
  "containernetworking-plugins": "/usr/lib/cni/ptp",
  iproute2: "/usr/bin/ip",
  iptables: "/usr/sbin/iptables",
  kmod: "/usr/bin/kmod",
  mmdebstrap: "/usr/bin/mmdebstrap",
  nftables: "/usr/sbin/nft",
  openssl: "/usr/bin/openssl",
  runc: "/usr/sbin/runc",
  "util-linux": "/usr/bin/unshare",
};

/** Throws one RunError that names everything that keeps this machine from being a node. */
export function checkMachine(): void {
  const found: string[] = [];
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    found.push("user: a node mounts, routes and starts containers, which takes root on Linux");
  }
  const missing = Object.entries(PACKAGES).flatMap(([name, file]) => (fs.existsSync(file) ? [] : [name]));
  if (missing.length > 0) {
    const install = `apt-get install --no-install-recommends ${missing.join(" ")}`;
    found.push(`packages: ${missing.join(", ")} not found; run \`${install}\` on Debian 12`);
  }
  if (found.length === 0 && !mayIsolate()) {
    found.push("namespaces: the kernel refuses `unshare --mount --net --pid`; a container needs --privileged for it");
  }
  if (found.length > 0) throw new pulumi.RunError(`a node cannot run here:\n${found.join("\n")}`);
}

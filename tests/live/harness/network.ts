import { execFileSync } from "node:child_process";
import * as fs from "node:fs";

const BRIDGE = "pods";

/** The network of all pods: a bridge in a namespace without any other way out, and the names that lead to its addresses. */
export class Network {
  private readonly addresses = new Map<string, string>();
  private readonly names = new Map<string, Set<string>>();

  /**
   * Opens the network 10.244.0.0/16 (or another `cidr`); the tests are its first address, as a node is.
   *
   * @param hosts the file that every pod sees as /etc/hosts.
   */
  constructor(
    private readonly cidr: string,
    private readonly hosts: string,
  ) {
    run("mount", "-t", "tmpfs", "tmpfs", "/run"); // named namespaces lie there, and these are nobody else's business
    run("ip", "link", "set", "lo", "up");
    run("ip", "link", "add", BRIDGE, "type", "bridge");
    run("ip", "address", "add", `${this.nth(1)}/${this.bits}`, "dev", BRIDGE);
    run("ip", "link", "set", BRIDGE, "up");
    this.write();
  }

  /** The address of the tests. */
  get own(): string {
    return this.nth(1);
  }

  /** Gives a pod an address in a network namespace of its own, /run/netns/<pod>. The one that it had it gets again. */
  join(pod: string): string {
    const known = this.addresses.get(pod);
    if (known !== undefined) return known;
    const number = this.addresses.size + 2;
    const [address, link] = [this.nth(number), `pod${number}`];
    run("ip", "netns", "add", pod);
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pod);
    run("ip", "link", "set", link, "master", BRIDGE, "up");
    run("ip", "-n", pod, "address", "add", `${address}/${this.bits}`, "dev", "eth0");
    run("ip", "-n", pod, "link", "set", "eth0", "up");
    run("ip", "-n", pod, "link", "set", "lo", "up");
    this.addresses.set(pod, address);
    return address;
  }

  /** Has names lead to an address, as the DNS of a cluster does. */
  publish(address: string, names: readonly string[]): void {
    this.names.set(address, new Set([...(this.names.get(address) ?? []), ...names]));
    this.write();
  }

  /** Has no name lead to an address any more. */
  withdraw(address: string): void {
    this.names.delete(address);
    this.write();
  }

  /** The address that a name leads to, if it leads anywhere. */
  find(name: string): string | undefined {
    return [...this.names].find(([, names]) => names.has(name))?.[0];
  }

  private write(): void {
    const lines = [...this.names].map(([address, names]) => `${address} ${[...names].join(" ")}`);
    // Into the same file, which is mounted: a new one would stay unseen.
    fs.writeFileSync(this.hosts, ["127.0.0.1 localhost", ...lines, ""].join("\n"));
  }

  private get bits(): string {
    return this.cidr.split("/")[1] ?? "16";
  }

  private nth(number: number): string {
    const [address = ""] = this.cidr.split("/");
    return [...address.split(".").slice(0, 3), number].join(".");
  }
}

function run(file: string, ...args: string[]): void {
  execFileSync(file, args, { stdio: ["ignore", "ignore", "inherit"] });
}

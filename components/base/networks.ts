import { BlockList } from "node:net";

/** Whether an IPv4 network lies in another: both as `10.0.0.0/8`. */
export function isWithin(outer: string, inner: string): boolean {
  const [base = "", prefix] = outer.split("/");
  const [address = "", length] = inner.split("/");
  const addresses = new BlockList();
  addresses.addSubnet(base, Number(prefix));
  return Number(length) >= Number(prefix) && addresses.check(address);
}

import { execFileSync } from "node:child_process";

/** Whether this machine lets us have such namespaces. */
export function mayIsolate(): boolean {
  try {
    execFileSync("unshare", ["--mount", "--net", "--pid", "--fork", "--mount-proc", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

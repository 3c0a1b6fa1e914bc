import { execFileSync } from "node:child_process";

/** Arguments of `unshare`: namespaces that end, with all that is in them, with the process that makes them. */
export const NAMESPACES = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"];

/** Whether this machine lets us have such namespaces. */
export function mayIsolate(): boolean {
  try {
    execFileSync("unshare", ["--mount", "--net", "--pid", "--fork", "--mount-proc", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

import type { Pod } from "./pod";

/**
 * Runs a Python script in a pod, with the pod's own environment, and returns what it printed last, read as JSON. `input` is
 * the script's variable of that name: what it holds stands on no command line.
 */
export async function python(pod: Pick<Pod, "exec">, script: string, input: unknown = {}): Promise<any> {
  const text = `import json\ninput = json.loads(${JSON.stringify(JSON.stringify(input))})\n${script}`;
  const output = await pod.exec(["python", "-"], { input: text, timeoutSeconds: 240 });
  const last = output.trimEnd().split("\n").at(-1) ?? "";
  return JSON.parse(last);
}

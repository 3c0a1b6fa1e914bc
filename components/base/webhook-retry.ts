import { setTimeout as sleep } from "node:timers/promises";
import * as pulumi from "@pulumi/pulumi";

// What the API server says of a webhook that it cannot reach or trust. A webhook that refuses an object "denied the request".
const UNANSWERED = /failed calling webhook/;
const SECONDS_BETWEEN = 5;
const RETRIES = 12;

/**
 * Has the engine try objects again for a minute while the webhook that must see them does not answer: an operator's pod is Ready
 * some seconds before every node sends its Service's traffic there (kubernetes#102013), before its CA is in the webhook's
 * configuration, and it is gone for a moment whenever it is replaced. Releases are left alone: what a failed one leaves is
 * Helm's to mend.
 */
export function webhookRetry(): pulumi.ResourceTransformation {
  // Pulumi's mocks say that they take error hooks, and do not.
  if (!("registerErrorHook" in (pulumi.runtime.getMonitor() ?? {}))) return () => undefined;
  const retry = new pulumi.ErrorHook("webhook-retry", async ({ errors: [latest = ""], errors }) => {
    if (!UNANSWERED.test(latest) || errors.length > RETRIES) return false;
    await sleep(SECONDS_BETWEEN * 1000);
    return true;
  });
  return ({ type, props, opts }) =>
    type.startsWith("kubernetes:") && !type.startsWith("kubernetes:helm.sh/")
      ? { props, opts: { ...opts, hooks: { onError: [retry] } } }
      : undefined;
}

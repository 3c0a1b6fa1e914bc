import assert from "node:assert/strict";
import { only } from "../support/mocks";
import { configOf, run } from "../support/program";

/** What the verification asks of Ray Serve, with the commodity application under a path or not deployed at all. */
async function asksServe(routePrefix: string | undefined): Promise<string | undefined> {
  const config = configOf("dev");
  const applications = Object.fromEntries(
    Object.entries(config.serve.applications).flatMap(([name, application]) =>
      routePrefix === undefined ? [] : [[name, { ...application, routePrefix }]],
    ),
  );
  const { seen } = await run({ ...config, serve: { ...config.serve, applications } });
  const { spec } = only(seen, "kubernetes:batch/v1:CronJob", "verify").inputs;
  const { env } = spec.jobTemplate.spec.template.spec.containers[0];
  return env.find(({ name }: any) => name === "SERVE_URL")?.value;
}

describe("the prediction that is verified", () => {
  const host = "http://ray-serve.data-platform.svc:8000";

  it("is asked where the application answers", async () => {
    assert.equal(await asksServe("/"), `${host}/predict/price-forecast`);
    assert.equal(await asksServe("/commodity"), `${host}/commodity/predict/price-forecast`);
  });

  it("is left out where nobody deploys the application", async () => {
    assert.equal(await asksServe(undefined), undefined);
  });
});

import type { V1CronJob } from "@kubernetes/client-node";
import { type Answer, type Question, Unanswered } from "./check";
import type { ClusterView } from "./cluster";
import { type Expected, ofKind } from "./expected";
import { dashboardApp, rayPods } from "./ray";

/** One answer of components/observability/verify.py. */
export interface HttpAnswer {
  readonly question: string;
  readonly ok: boolean;
  readonly found: string;
  readonly data: unknown;
}

/** The answers of one Job; rejects with the reason if there are none. */
export type HttpAnswers = () => Promise<readonly HttpAnswer[]>;

/** The questions that are asked from inside the cluster, for the addresses in the program's template. */
export function answers(expected: Expected, cluster: ClusterView, asked: HttpAnswers): Question[] {
  const variables = templateVariables(expected);
  return QUESTIONS.filter(({ variable }) => variables.includes(variable)).map(
    ({ question, topic, name, next, judge }) => ({
      topic,
      name,
      ask: async () => {
        const answer = (await asked()).find((one) => one.question === question);
        if (answer === undefined) throw new Unanswered(`the Job did not answer ${question}`, "npx pulumi up");
        if (!answer.ok) return { found: "no", faults: [{ what: answer.found, next }] };
        return judge === undefined ? { found: answer.found } : judge(answer, expected, cluster);
      },
    }),
  );
}

interface HttpQuestion {
  readonly question: string;
  /** The template's variable with the address to ask. */
  readonly variable: string;
  readonly topic: string;
  readonly name: string;
  /** What to do if there is no answer. */
  readonly next: string;
  readonly judge?: (answer: HttpAnswer, expected: Expected, cluster: ClusterView) => Answer | Promise<Answer>;
}

const PROMETHEUS_LOG = "kubectl logs -n monitoring -l app.kubernetes.io/name=prometheus -c prometheus";
const RAY_LOG = "kubectl logs -n data-platform -l 'app in (ray, ray-cluster, ray-serve-cluster)'";

const QUESTIONS: readonly HttpQuestion[] = [
  {
    question: "mlflow-health",
    variable: "MLFLOW_URL",
    topic: "answers",
    name: "MLflow is healthy",
    next: "kubectl logs -n data-platform deployment/mlflow",
  },
  {
    question: "mlflow-registry",
    variable: "MLFLOW_URL",
    topic: "answers",
    name: "MLflow reads its registry",
    next: "kubectl logs -n data-platform deployment/mlflow; see whether PostgreSQL is up",
  },
  {
    question: "feast-health",
    variable: "FEAST_URL",
    topic: "answers",
    name: "Feast is healthy",
    next: "kubectl logs -n data-platform -l app=feast",
  },
  {
    question: "prediction",
    variable: "SERVE_URL",
    topic: "answers",
    name: "a prediction",
    next: `see whether the model is registered and promoted (docs/ml-quick-start.md); ${RAY_LOG}`,
  },
  {
    question: "ray-nodes",
    variable: "RAY_URL",
    topic: "Ray",
    name: "nodes alive, as Ray sees them",
    next: RAY_LOG,
    judge: rayNodes,
  },
  {
    question: "prometheus-targets",
    variable: "PROMETHEUS_URL",
    topic: "monitoring",
    name: "targets are up",
    next: PROMETHEUS_LOG,
    judge: targets,
  },
  {
    question: "prometheus-rules",
    variable: "PROMETHEUS_URL",
    topic: "monitoring",
    name: "alert rules are loaded",
    next: PROMETHEUS_LOG,
    judge: rules,
  },
];

/** The variable names in the program's Job template. */
function templateVariables(expected: Expected): string[] {
  const template = ofKind(expected, "CronJob").find(({ name }) => name === TEMPLATE);
  const { spec } = (template?.inputs ?? {}) as V1CronJob;
  const containers = spec?.jobTemplate.spec?.template.spec?.containers ?? [];
  return containers.flatMap(({ env = [] }) => env.map(({ name }) => name));
}

/** Name of the template CronJob, and the pods' label `app`. */
export const TEMPLATE = "verify";

async function rayNodes({ data, found }: HttpAnswer, expected: Expected, cluster: ClusterView): Promise<Answer> {
  const alive = data as { readonly heads: number; readonly workers: number };
  const ready = rayPods(await cluster.pods(), dashboardApp(expected));
  const next = "kubectl logs of the pods that did not join; a node that just joined or left settles within a minute";
  const faults = (["heads", "workers"] as const)
    .filter((role) => alive[role] !== ready[role])
    .map((role) => ({ what: `${alive[role]} ${role} are alive, but ${ready[role]} of their pods are ready`, next }));
  return { found, faults };
}

interface Target {
  readonly pool: string;
  readonly url: string;
  readonly up: boolean;
  readonly error: string;
}

/** Whether all targets are up, and every monitor of the program has some. */
function targets({ data, found }: HttpAnswer, expected: Expected): Answer {
  const all = data as readonly Target[];
  const down = all
    .filter(({ up }) => !up)
    .map(({ pool, url, error }) => ({
      what: `${pool}: ${url}: ${error}`,
      next: "see whether the pod runs and lets Prometheus in",
    }));
  const without = (["PodMonitor", "ServiceMonitor"] as const)
    .flatMap((kind) => ofKind(expected, kind))
    .filter(({ kind, namespace, name }) => {
      const prefix = `${kind.charAt(0).toLowerCase()}${kind.slice(1)}/${namespace}/${name}/`;
      return !all.some(({ pool }) => pool.startsWith(prefix));
    })
    .map(({ kind, namespace, name }) => ({
      what: `${kind} ${namespace}/${name} has no target`,
      next: `see whether its pods run: kubectl get pods -n ${namespace} --show-labels`,
    }));
  return { found, faults: [...down, ...without] };
}

interface Rule {
  readonly name: string;
  readonly error: string;
}

/** Whether every rule of the program's PrometheusRules is loaded and evaluates. */
function rules({ data }: HttpAnswer, expected: Expected): Answer {
  const all = data as readonly Rule[];
  const loaded = new Set(all.map(({ name }) => name));
  const ours = ofKind(expected, "PrometheusRule").flatMap(({ name: file, inputs }) => {
    const { groups } = inputs["spec"] as { groups: { rules: { alert?: string; record?: string }[] }[] };
    return groups.flatMap((group) => group.rules.map(({ alert, record }) => ({ file, name: alert ?? record ?? "" })));
  });
  const missing = ours.filter(({ name }) => !loaded.has(name));
  const broken = all.filter(({ error }) => error !== "");
  return {
    found: `${ours.length - missing.length} of ${ours.length} ours, ${all.length} in all`,
    faults: [
      ...missing.map(({ file, name }) => ({
        what: `${name} of PrometheusRule ${file} is not loaded`,
        next: "kubectl logs of the prometheus-operator; see Prometheus' ruleSelector",
      })),
      ...broken.map(({ name, error }) => ({ what: `${name}: ${error}`, next: "correct its expression" })),
    ],
  };
}

import { ApiException } from "@kubernetes/client-node";

/** One thing to find out. Whatever keeps it from being found out makes it `unknown`. */
export interface Question {
  readonly topic: string;
  readonly name: string;
  readonly ask: () => Promise<Answer> | Answer;
}

/** What was found: it is as it should be when nothing is wrong. */
export interface Answer {
  readonly found: string;
  readonly faults?: readonly Fault[];
}

/** What is wrong, by name, and what to do about it. */
export interface Fault {
  readonly what: string;
  readonly next: string;
}

/** A question and what came of it. `unknown` could not be found out, and does not count as passed. */
export interface Check {
  readonly topic: string;
  readonly name: string;
  readonly state: "ok" | "failed" | "unknown";
  readonly found: string;
  readonly faults: readonly Fault[];
}

/** Why a question has no answer. */
export class Unanswered extends Error {
  constructor(
    why: string,
    /** What to do, so that it has one. */
    readonly next: string,
  ) {
    super(why);
  }
}

/** Asks all questions at once. */
export function askAll(questions: readonly Question[]): Promise<Check[]> {
  return Promise.all(
    questions.map(async ({ topic, name, ask }): Promise<Check> => {
      try {
        const { found, faults = [] } = await ask();
        return { topic, name, state: faults.length === 0 ? "ok" : "failed", found, faults };
      } catch (error) {
        const { message, next } = unanswered(error);
        return { topic, name, state: "unknown", found: "not found out", faults: [{ what: message, next }] };
      }
    }),
  );
}

/** The reason behind what a call to the cluster threw; a fault of this program is thrown on. */
export function unanswered(error: unknown): Unanswered {
  if (error instanceof Unanswered) return error;
  if (error instanceof ApiException) {
    const why = messageOf(error);
    if (error.code === 401) return new Unanswered(why, "renew the login of the kubeconfig");
    if (error.code === 403) return new Unanswered(why, "have the rights of docs/verify-rights.yaml granted");
    return new Unanswered(why, "run it again; look at the API server if it stays");
  }
  const code = networkFault(error);
  if (code !== undefined) return new Unanswered(code, "see whether the API server is up and KUBECONFIG leads to it");
  throw error;
}

function messageOf({ code, body }: ApiException<unknown>): string {
  const status = typeof body === "string" ? parsed(body) : body;
  const { message } = (status ?? {}) as { message?: string };
  return message ?? `the API server answers ${code}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

/** `connect ECONNREFUSED 127.0.0.1:6443`, from wherever in the chain of causes it stands. */
function networkFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === "string" && /^(E[A-Z]+|CERT_|UND_|DEPTH_|SELF_|UNABLE_)/.test(code)) return error.message || code;
  return networkFault(error.cause);
}

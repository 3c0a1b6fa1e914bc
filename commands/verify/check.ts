import { ApiException } from "@kubernetes/client-node";
import type { State } from "../../rehearsal/simulation/colours";

/** One thing to find out. If that is not possible, it is `unknown`. */
export interface Question {
  readonly topic: string;
  readonly name: string;
  readonly ask: () => Promise<Answer> | Answer;
}

/** What was found; the check passes without faults. */
export interface Answer {
  readonly found: string;
  readonly faults?: readonly Fault[];
}

/** What is wrong, and what to do about it. */
export interface Fault {
  readonly what: string;
  readonly next: string;
}

/** A question with its result. `unknown` does not count as passed. */
export interface Check {
  readonly topic: string;
  readonly name: string;
  readonly state: State;
  readonly found: string;
  readonly faults: readonly Fault[];
}

/** Why a question has no answer. */
export class Unanswered extends Error {
  constructor(
    why: string,
    /** What to do about it. */
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

/** The reason for a failed call to the cluster; rethrows errors of this program. */
export function unanswered(error: unknown): Unanswered {
  if (error instanceof Unanswered) return error;
  if (error instanceof ApiException) {
    const why = messageOf(error);
    if (error.code === 401) return new Unanswered(why, "renew the login of the kubeconfig");
    if (error.code === 403) return new Unanswered(why, "have the rights of docs/verify-rights.yaml granted");
    return new Unanswered(why, "run it again; if it persists, look at the API server");
  }
  const code = networkFault(error);
  if (code !== undefined) return new Unanswered(code, "check that the API server is up and KUBECONFIG points to it");
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

/** The network error in a chain of causes, such as `connect ECONNREFUSED 127.0.0.1:6443`. */
function networkFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === "string" && /^(E[A-Z]+|CERT_|UND_|DEPTH_|SELF_|UNABLE_)/.test(code)) return error.message || code;
  return networkFault(error.cause);
}

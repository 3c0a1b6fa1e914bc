/** A Kubernetes object of the program. */
export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels?: Labels };
  readonly [key: string]: any;
}

/** Labels, as selectors match them. */
export type Labels = Readonly<Record<string, string>>;

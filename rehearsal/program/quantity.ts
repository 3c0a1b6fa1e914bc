const BINARY = ["Ki", "Mi", "Gi", "Ti", "Pi"];
const DECIMAL = ["k", "M", "G", "T", "P"];

/** Parses a Kubernetes quantity of cores or counts: `500m` is 0.5. */
export function cores(quantity: string | number): number {
  const text = String(quantity);
  return text.endsWith("m") ? Number(text.slice(0, -1)) / 1000 : bytes(text);
}

/** Parses a Kubernetes quantity of bytes: `1Gi` is 1073741824. */
export function bytes(quantity: string | number): number {
  const [, number = "0", suffix = ""] = /^([\d.eE+]+)([A-Za-z]*)$/.exec(String(quantity)) ?? [];
  if (BINARY.includes(suffix)) return Number(number) * 1024 ** (BINARY.indexOf(suffix) + 1);
  if (DECIMAL.includes(suffix)) return Number(number) * 1000 ** (DECIMAL.indexOf(suffix) + 1);
  return Number(number);
}

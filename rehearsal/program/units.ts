// In floating point, 0.1 + 0.2 is not 0.3.
export const TOLERANCE = 1e-6;

/** Whether a quota counts a resource in bytes. */
export function isBytes(resource: string): boolean {
  return /memory|storage/.test(resource);
}

/** Formats an amount for people: cores, MiB, GiB or a count. */
export function written(resource: string, amount: number): string {
  if (isBytes(resource)) {
    const isSmall = amount > 0 && amount < GIB;
    return isSmall ? `${Math.round(amount / 1024 ** 2)} MiB` : `${round(amount / GIB)} GiB`;
  }
  const unit = resource.endsWith(".cpu") ? " core" : resource.endsWith("/gpu") ? " GPU" : "";
  return `${round(amount)}${unit === "" || round(amount) === 1 ? unit : `${unit}s`}`;
}

const GIB = 1024 ** 3;

function round(number: number): number {
  return Math.round(number * 100) / 100;
}

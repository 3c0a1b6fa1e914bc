"use strict";
/**
 * Stands in for the official random plugin where that cannot be downloaded; no registry serves its Go module. It makes what the
 * program asks of it, a RandomPassword of letters and digits, and refuses everything else by name. The engine starts it as a
 * process of its own, for each operation: JavaScript, because compiling it would take longer than it runs.
 */
const { randomInt } = require("node:crypto");
const provider = require("@pulumi/pulumi/provider");
const { version } = require("@pulumi/random/package.json");

const TYPE = "random:index/randomPassword:RandomPassword";
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
// The engine's own constants: sdk/go/common/resource/properties.go.
const SECRET = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270" };
// What the official plugin adds to the inputs, so that each of the two accepts the other's state.
const DEFAULTS = {
  lower: true,
  upper: true,
  number: true,
  numeric: true,
  minLower: 0,
  minUpper: 0,
  minNumeric: 0,
  minSpecial: 0,
};

/** @returns {{ property: string, reason: string }[]} */
function faults(urn, { length, special, ...others }) {
  const type = urn.split("::")[2].split("$").at(-1);
  if (type !== TYPE)
    return [{ property: "", reason: `the stand-in for the random plugin has no ${type}; it has ${TYPE}` }];
  const found = Object.keys(others)
    .filter((key) => others[key] !== DEFAULTS[key])
    .map((property) => ({
      property,
      reason: `the stand-in for the random plugin takes length and special: false alone`,
    }));
  if (special !== false)
    found.push({ property: "special", reason: "it must be false: the stand-in knows letters and digits" });
  if (!Number.isInteger(length) || length < 1) {
    found.push({ property: "length", reason: `it is ${length}; give a whole number of at least 1` });
  }
  return found;
}

void provider.main(
  {
    version,
    check: async (urn, _, news) => ({ inputs: { ...DEFAULTS, ...news }, failures: faults(urn, news) }),
    diff: async (_id, _urn, olds, news) => {
      const changed = Object.keys(news).filter((key) => news[key] !== olds[key]);
      return { changes: changed.length > 0, replaces: changed };
    },
    create: async (_, inputs) => {
      const value = Array.from({ length: inputs.length }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
      return { id: "none", outs: { ...inputs, result: { ...SECRET, value } } };
    },
  },
  process.argv.slice(2),
);

// Imports point one way: index -> stacks -> components/<area> -> components/base. Beside it stand the commands and the
// rehearsal, which look at the program; the program never looks at them. Of their rooms, each imports those below it alone.
const AREA = "^components/(?!base/)";
const ROOMS = [
  "commands",
  "rehearsal/node",
  "rehearsal/software",
  "rehearsal/simulation",
  "rehearsal/program",
  "rehearsal/operators",
];

const rule = (name, from, to, comment) => ({
  name,
  severity: "error",
  comment,
  from: typeof from === "string" ? { path: from } : from,
  to: typeof to === "string" ? { path: to } : to,
});

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    rule("no-cycles", {}, { circular: true }, "Two files that need each other are one, or lack a third."),
    rule("no-unknown", {}, { couldNotResolve: true }, "Every import leads somewhere."),
    rule(
      "base-knows-nobody",
      "^components/base/",
      { path: "^(components|stacks|rehearsal|commands|tests|index\\.ts)", pathNot: "^components/base/" },
      "What all components share knows none of them.",
    ),
    rule(
      "components-know-no-sibling",
      // The parts of a large component lie in a folder of its name, the values of a chart in a file beside it.
      { path: `${AREA}([^/]+/[^/.]+)` },
      { path: `${AREA}.+`, pathNot: "^components/$1(/|\\.(values\\.)?ts$)" },
      "A layer file in stacks/ joins components; the types that they share live in base.",
    ),
    rule(
      "components-know-no-stack",
      "^components/",
      "^(stacks|rehearsal|commands|tests|index\\.ts)",
      "A component runs in any stack.",
    ),
    rule(
      "stacks-know-no-tools",
      "^(stacks/|index\\.ts)",
      "^(rehearsal|commands|tests)/",
      "`pulumi up` runs without them.",
    ),
    rule("index-calls-stacks", "^index\\.ts$", "^(components|rehearsal|commands|tests)/", "The layers do the rest."),
    rule(
      "tools-see-the-program-as-a-whole",
      "^(rehearsal|commands)/",
      { path: `${AREA}.+` },
      "They read what the program registers, not how a component makes it.",
    ),
    ...ROOMS.map((room, index) =>
      rule(
        `${room.replace("rehearsal/", "")}-imports-nothing-above`,
        `^${room}/`,
        `^(${ROOMS.slice(0, index).join("|") || "tests"})/`,
        "`commands`, `node`, `software`, `simulation`, `program` and `operators` do not import upwards.",
      ),
    ),
    rule(
      "operators-know-no-sibling",
      { path: "^rehearsal/operators/([^/]+)/" },
      { path: "^rehearsal/operators/[^/]+/", pathNot: "^rehearsal/operators/$1/" },
      "What only one operator has lies in its folder alone.",
    ),
    rule(
      "only-tests-import-tests",
      { path: "^(index\\.ts|stacks|components|rehearsal|commands)" },
      "^tests/",
      "Tests look at the program.",
    ),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(coverage|out|\\.charts|packages/[^/]+/dist)/" },
    tsConfig: { fileName: "tsconfig.json" },
    // Types count: a component that imports a sibling's type depends on the sibling.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["require", "node", "types"] },
  },
};

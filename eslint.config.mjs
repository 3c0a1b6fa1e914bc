import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const ban = (selector, what) => ({
  selector,
  message: `A component knows no environment: ${what} belongs to stacks/, which hands the value over as an argument.`,
});

export default defineConfig(
  globalIgnores(["coverage/", "out/", ".charts/", "packages/*/dist/"]),
  js.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      // A number reads the same in a template as anywhere; an Output or an object does not.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
  {
    files: ["**/*.cjs"],
    languageOptions: { globals: { module: "writable", process: "readonly", require: "readonly" } },
  },
  {
    files: ["components/**"],
    rules: {
      "no-restricted-syntax": [
        "error",
        ban("NewExpression[callee.property.name='Config']", "`new Config`"),
        ban("NewExpression[callee.name='Config']", "`new Config`"),
        ban("CallExpression[callee.property.name='getStack']", "`getStack()`"),
        ban("CallExpression[callee.name='getStack']", "`getStack()`"),
        ban("NewExpression[callee.property.name='StackReference']", "a StackReference"),
        ban("NewExpression[callee.name='StackReference']", "a StackReference"),
        ban("MemberExpression[object.name='process'][property.name='env']", "`process.env`"),
      ],
    },
  },
  {
    files: ["commands/**", "rehearsal/**", "tests/**"],
    // @kubernetes/client-node declares its models as classes and takes plain objects.
    rules: { "@typescript-eslint/no-unsafe-class-instance-assignment": "off" },
  },
  {
    files: ["tests/**"],
    rules: {
      // Tests walk manifests of every kind as the API server reads them: a wrong step fails the test that takes it.
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-misused-spread": "off",
      "no-restricted-syntax": [
        "error",
        {
          selector:
            "CallExpression[arguments.length=1]:matches([callee.name='assert'], [callee.object.name='assert'][callee.property.name='ok'])",
          message:
            "Say what is wrong and what to do, or use an assertion that shows both values: equal, deepEqual, match.",
        },
      ],
    },
  },
);

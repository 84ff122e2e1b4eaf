// Checks the scripts of the dashboard with TypeScript's compiler, against the types of the API's documents.
//
// Those are made from `schemas/openapi.json` into `tests/readers/api.d.ts`, which editors read as well.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const here = (name) => new URL(name, import.meta.url).pathname;
const { components } = JSON.parse(readFileSync(here("../../schemas/openapi.json"), "utf8"));
const nameOf = (reference) => reference.split("/").at(-1);

/** A schema as a type. What is not said may be anything. */
function typeOf(schema) {
  if (typeof schema !== "object") return "any";
  if (schema.$ref) return `${nameOf(schema.$ref)}`;
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.map(typeOf).join(" | ");
  const parts = (schema.allOf ?? []).map(typeOf);
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type })).join(" | ");
  if (schema.type === "object" || schema.properties) parts.push(objectOf(schema));
  else if (schema.type === "array") parts.push(schema.prefixItems ? `[${schema.prefixItems.map(typeOf).join(", ")}]` : `Array<${typeOf(schema.items ?? true)}>`);
  else if (schema.type) parts.push({ integer: "number", number: "number", string: "string", boolean: "boolean", null: "null" }[schema.type]);
  return parts.length ? parts.map((part) => (parts.length > 1 ? `(${part})` : part)).join(" & ") : "any";
}

function objectOf(schema) {
  const properties = Object.entries(schema.properties ?? {});
  if (!properties.length) return `{ [key: string]: ${typeOf(schema.additionalProperties ?? true)} }`;
  const keys = properties.map(([key, value]) => `${JSON.stringify(key)}${schema.required?.includes(key) ? "" : "?"}: ${typeOf(value)};`);
  return `{\n    ${keys.join("\n    ")}\n  }`;
}

const types = Object.entries(components.schemas).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, schema]) => `  type ${name} = ${typeOf(schema)};`);
const text = `// The documents of the API, made from schemas/openapi.json: UPDATE=1 cargo test --test readers -- types\ndeclare namespace Api {\n${types.join("\n")}\n}\n`;
const file = here("api.d.ts");
if (process.env.UPDATE) writeFileSync(file, text);
else if (readFileSync(file, "utf8") !== text) {
  console.error("tests/readers/api.d.ts is not what schemas/openapi.json says: UPDATE=1 cargo test --test readers -- types");
  process.exit(1);
}

const compiler = `${process.env.TOOLS}/node_modules/typescript/bin/tsc`;
const ran = spawnSync(process.execPath, [compiler, "--pretty", "false", "--listFiles", "-p", here("tsconfig.json")], { encoding: "utf8" });
if (ran.status !== 0) console.error(ran.stdout.split("\n").filter((line) => !line.startsWith("/")).join("\n"), ran.stderr);
if (!ran.stdout.includes("serve/web/main.js")) throw new Error(`no script was read: ${ran.stdout}${ran.stderr}`);
process.exit(ran.status ?? 1);

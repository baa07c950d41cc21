/** The JSON schemas of the OCI runtime-spec (test/fixtures/oci, draft 4), and a validator of them. */
import { readFileSync } from "node:fs";
import type { ValidateFunction } from "ajv";
import Ajv from "ajv-draft-04";

const NAMES = [
  "config-schema.json",
  "config-linux.json",
  "defs.json",
  "defs-linux.json",
  "features-schema.json",
  "features-linux.json",
  "state-schema.json",
] as const;

export type SchemaName = (typeof NAMES)[number];
export type Schema = { [key: string]: unknown };

const SCHEMAS = new Map<string, Schema>(
  NAMES.map((name) => [name, JSON.parse(readFileSync(new URL(`../fixtures/oci/${name}`, import.meta.url), "utf8"))]),
);

/** Of a file as it stands. */
export function schemaOf(name: SchemaName): Schema {
  return SCHEMAS.get(name) as Schema;
}

/** A function that says whether a value fits the schema; what does not fit is in its `errors`. */
export function validatorOf(name: SchemaName): ValidateFunction {
  // The files are no schemas of their own but collections of them, with formats that a validator need not know.
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  for (const [id, schema] of SCHEMAS) ajv.addSchema({ ...schema, id }, id);
  // Of other platforms anything will do.
  for (const other of OTHER_PLATFORMS) {
    ajv.addSchema({ id: `config-${other}.json`, [other]: {} }, `config-${other}.json`);
  }
  return ajv.getSchema(name) as ValidateFunction;
}

/**
 * Every member that config.json may have for Linux, as a path: "process.user.uid", "mounts[].options[]",
 * "linux.sysctl.*". Members of other platforms are left out.
 */
export function configPaths(): string[] {
  const found = new Set<string>();
  visit(SCHEMAS.get("config-schema.json") as Schema, "config-schema.json", "", found);
  return [...found].sort();
}

const OTHER_PLATFORMS = ["solaris", "windows", "vm", "zos", "freebsd"];

function visit(schema: Schema, file: string, path: string, found: Set<string>, depth = 0): void {
  if (depth > 12) return;
  const at = locate(schema, file);
  for (const part of (at.schema.allOf ?? at.schema.anyOf ?? at.schema.oneOf ?? []) as Schema[]) {
    visit(part, at.file, path, found, depth + 1);
  }
  for (const [name, member] of Object.entries((at.schema.properties ?? {}) as Record<string, Schema>)) {
    if (path === "" && OTHER_PLATFORMS.includes(name)) continue;
    const below = path === "" ? name : `${path}.${name}`;
    found.add(below);
    visit(member, at.file, below, found, depth + 1);
  }
  if (at.schema.items !== undefined) visit(at.schema.items as Schema, at.file, `${path}[]`, found, depth + 1);
  const others = { ...(at.schema.patternProperties as object | undefined) };
  for (const member of Object.values(others) as Schema[]) visit(member, at.file, `${path}.*`, found, depth + 1);
  const additional = at.schema.additionalProperties;
  if (typeof additional === "object" && additional !== null) {
    visit(additional as Schema, at.file, `${path}.*`, found, depth + 1);
  }
}

/** The schema itself where there is only a reference to it, and the file it stands in. */
export function locate(schema: Schema, file: string): { schema: Schema; file: string } {
  return typeof schema.$ref === "string" ? follow(schema.$ref, file) : { schema, file };
}

function follow(ref: string, file: string): { schema: Schema; file: string } {
  const [name, pointer = ""] = ref.split("#") as [string, string?];
  const target = name === "" ? file : name;
  let schema = SCHEMAS.get(target) as Schema | undefined;
  if (schema === undefined) return { schema: {}, file: target };
  for (const part of pointer.split("/").filter(Boolean)) schema = schema?.[part] as Schema | undefined;
  return locate(schema ?? {}, target);
}

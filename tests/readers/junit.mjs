// Whether the files that are named keep to Jenkins' schema of JUnit XML.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { validateXML } = createRequire(`${process.env.TOOLS}/`)("xmllint-wasm");
const schema = readFileSync(`${process.env.TOOLS}/junit-10.xsd`, "utf8");
const xml = process.argv.slice(2).map((fileName) => ({ fileName, contents: readFileSync(fileName, "utf8") }));
const { valid, errors } = await validateXML({ xml, schema });
for (const { message, rawMessage } of errors) console.error(rawMessage ?? message);
process.exit(valid ? 0 : 1);

// Writes ../src/html/libraries.js: the libraries that libraries.js names, and before them their licences and two checksums, by which
// a test notices when this was forgotten.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { build } from "esbuild";

const INPUTS = ["build.mjs", "libraries.js", "package.json", "package-lock.json"];
const OUTPUT = "../src/html/libraries.js";

const bundle = await build({
  entryPoints: ["libraries.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  write: false,
  metafile: true,
  legalComments: "none",
  // Its rules are in the page, with the page's colours.
  loader: { ".css": "empty" },
  define: { "process.env.NODE_ENV": '"production"' },
});

// What is in it, and under which terms. Packages with the same text are named before it.
const packages = new Set();
for (const [input, { bytesInOutput }] of Object.entries(Object.values(bundle.metafile.outputs)[0].inputs)) {
  const name = input.match(/^node_modules\/((@[^/]+\/)?[^/]+)/)?.[1];
  if (name && bytesInOutput > 0) packages.add(name);
}
const terms = new Map();
for (const name of [...packages].sort()) {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const files = [folder, `${folder}/licenses`].filter(at => existsSync(at)).flatMap(at =>
    readdirSync(at, { withFileTypes: true })
      .filter(file => file.isFile() && /^(licen[cs]e|notice|copying)/i.test(file.name))
      .map(file => `${at}/${file.name}`));
  if (!files.length) throw new Error(`${name} brings no licence`);
  for (const file of files) {
    const text = readFileSync(file, "utf8").trim().replaceAll("*/", "* /");
    terms.set(text, [...(terms.get(text) ?? []), `${name} ${version} (${license})`]);
  }
}
const licences = [...terms].map(([text, names]) => `${names.join(", ")}:\n\n${text}`).join("\n\n\n");

const content = Buffer.from(`/*\n${licences}\n*/\n${bundle.outputFiles[0].text}`);
const hex = bytes => crc32(bytes).toString(16).padStart(8, "0");
const inputs = Buffer.concat(INPUTS.map(file => readFileSync(file)));
writeFileSync(OUTPUT, Buffer.concat([Buffer.from(`/* made by analyzer/page: inputs ${hex(inputs)}, content ${hex(content)} */\n`), content]));
console.log(`${OUTPUT}: ${content.length} bytes`);

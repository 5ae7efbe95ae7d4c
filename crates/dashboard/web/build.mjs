// Builds the page into ../dist, or with --tests the unit tests into build/. The same sources and versions give the same bytes.
import { build } from "esbuild";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const argument = (name) => process.argv.find((given) => given.startsWith(`--${name}=`))?.split("=")[1];

if (process.argv.includes("--tests")) {
  const names = await readdir(join(here, "test"));
  await rm(join(here, "build"), { recursive: true, force: true });
  await build({
    entryPoints: names.filter((name) => name.endsWith(".test.ts")).map((name) => join(here, "test", name)),
    outdir: join(here, "build"),
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    // the page asks where it is when it is loaded
    banner: { js: 'globalThis.document ??= Object.assign(new EventTarget(), { baseURI: "http://localhost/ui/", hidden: false });' },
    logLevel: "warning",
  });
} else {
  const out = argument("out") ?? join(here, "../dist");
  await rm(out, { recursive: true, force: true });
  await mkdir(join(out, "assets"), { recursive: true });
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: { app: "src/main.tsx", style: "src/style.css" },
    outdir: join(out, "assets"),
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2022"],
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const built = Object.keys(metafile.outputs).map((path) => basename(path));
  const named = (start, end) => built.find((name) => name.startsWith(start) && name.endsWith(end));
  const icon = "assets/icon.svg";
  await cp(join(here, "src/icon.svg"), join(out, icon));
  let html = await readFile(join(here, "src/index.html"), "utf8");
  html = html.replace("{{style}}", `assets/${named("style", ".css")}`).replace("{{app}}", `assets/${named("app", ".js")}`);
  await writeFile(join(out, "index.html"), html.replaceAll("{{icon}}", icon));
  await writeFile(join(out, "assets/licenses.txt"), await licenses(metafile));
}

/** The licences of the packages whose code is in the page. */
async function licenses(metafile) {
  const packages = new Set();
  for (const path of Object.keys(metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path);
    if (found) packages.add(found[1]);
  }
  const texts = [];
  for (const name of [...packages].sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(join(folder, file), "utf8") : "";
    texts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return texts.join("\n----\n\n");
}

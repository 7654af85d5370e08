// build.mjs ENTRY OUT: compiles, and gives the functions that the module exports their names.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , entry, out] = process.argv;
// The compiler's folder is in PATH.
const tools = process.env.PATH.split(delimiter).find((folder) => existsSync(join(folder, 'asc')));
const library = (path) => import(pathToFileURL(join(tools, '..', path)));

const asc = await library('assemblyscript/dist/asc.js');
const { error, stderr } = await asc.main([
  entry,
  ...['--outFile', out, '--runtime', 'incremental', '--exportStart', '_initialize', '-O3'],
  // The names of functions stay: a failure says where it happened.
  ...['--debug', '--use', 'abort=assembly/router/abort'],
]);
if (error) {
  console.error(stderr.toString());
  process.exit(1);
}

const names = {
  realloc: ['cabi_realloc'],
  subscriptions: ['os2mo:router/filter@1.0.0#subscriptions'],
  route: ['os2mo:router/filter@1.0.0#route'],
  done: ['cabi_post_os2mo:router/filter@1.0.0#subscriptions', 'cabi_post_os2mo:router/filter@1.0.0#route'],
};
const { default: binaryen } = await library('binaryen/index.js');
const module = binaryen.readBinary(readFileSync(out));
for (const [name, exported] of Object.entries(names)) {
  const { value } = binaryen.getExportInfo(module.getExport(name));
  module.removeExport(name);
  exported.forEach((as) => module.addFunctionExport(value, as));
}
binaryen.setDebugInfo(true);
writeFileSync(out, module.emitBinary());

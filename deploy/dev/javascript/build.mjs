// build.mjs bundle BUNDLE: bundles plugin.js or plugin.ts with its packages.
// build.mjs plugin BUNDLE OUT WIT: builds the plugin OUT of the bundle.
// build.mjs next WIT FOLDER: builds FOLDER/plugin.wasm of FOLDER/told/bundle.js, once there is FOLDER/told/go.
// build.mjs test: bundles each *.test.js and *.test.ts, for Node.js, and runs them.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
// Installed beside componentize-js, whose folder is in PATH.
const tools = process.env.PATH.split(delimiter).find((folder) => existsSync(join(folder, 'componentize-js')));
const { build } = createRequire(join(tools, '..', 'tools.js'))('esbuild');

const entry = ['plugin.ts', 'plugin.js', 'plugin.mjs'].find((file) => existsSync(file));
if (!entry) {
  console.error('there is no plugin.js and no plugin.ts here');
  process.exit(1);
}

const common = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'error', charset: 'utf8' };
const bundled = (options) =>
  build({ ...common, ...options }).catch(({ errors }) => {
    if (errors?.some(({ text }) => /^Could not resolve "(node:)?(fs|net|http|https|tls|dns|child_process|worker_threads|os)"/.test(text))) {
      console.error('A plugin has no files, network, processes and threads: what needs them cannot be part of it.');
    }
    process.exit(1);
  });

// How the last line of a bundle begins, which has the author's line of each line of it.
const LINES = 'globalThis.__moRouterLines = ';

// The digits of base 64 in a source map.
const digits = new Map([...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].map((c, n) => [c, n]));

// Of a source map, for each line of the bundle where it comes from: the first segment of the line.
const origins = ({ mappings, sources }) => {
  const lines = [null];
  let [source, line] = [0, 0];
  for (const segments of mappings.split(';')) {
    let first = null;
    for (const segment of segments ? segments.split(',') : []) {
      const fields = [];
      let [value, shift] = [0, 0];
      for (const character of segment) {
        const digit = digits.get(character);
        value += (digit & 31) << shift;
        if (digit & 32) {
          shift += 5;
        } else {
          fields.push(value & 1 ? -(value >> 1) : value >> 1);
          [value, shift] = [0, 0];
        }
      }
      if (fields.length < 4) continue;
      source += fields[1];
      line += fields[2];
      first ??= `${sources[source]}:${line + 1}`;
    }
    lines.push(first);
  }
  return lines;
};

const bundle = async (out) => {
  const { metafile } = await bundled({
    metafile: true,
    entryPoints: [join(here, 'entry.js')],
    outfile: out,
    alias: { 'mo-router-plugin': resolve(entry) },
    external: ['wasi:*', 'os2mo:*'],
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['import'],
    define: { 'process.env.NODE_ENV': '"production"' },
    sourcemap: 'external',
    sourcesContent: false,
  });
  writeFileSync(`${out}.inputs`, Object.keys(metafile.inputs).map((file) => `${file}\n`).join(''));
  const map = JSON.parse(readFileSync(`${out}.map`, 'utf8'));
  const root = process.cwd();
  const sources = map.sources.map((file) => relative(root, resolve(dirname(out), file)));
  const isTool = (file) => file.startsWith(`${relative(root, here)}${sep}`);
  const lines = origins({ ...map, sources }).map((at) => (at && !isTool(at) ? at : 0));
  writeFileSync(out, `${readFileSync(out, 'utf8')}\n${LINES}${JSON.stringify(lines)};\n`);
};

// What componentize-js does, and what it says.
const componentize = (bundle, out, wit, ...more) => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      // Its memory grows thousands of times, and Node.js collects garbage with each: with threads of its
      // own for that, this takes a third longer.
      '--single-threaded-gc',
      join(tools, 'componentize-js'),
      bundle, '--wit', wit, '--world-name', 'plugin', '--disable', 'http', 'fetch-event', '--out', out, ...more,
    ],
    { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
  );
  return { status, stderr };
};

// Wizer is the first to look at the bundle.
const next = async (wit, folder) => {
  const wizer = await import(pathToFileURL(join(tools, '..', '@bytecodealliance/wizer/index.js')));
  symlinkSync(wizer.default, join(folder, 'wizer'));
  const waiting = join(folder, 'wizer-when-told');
  const script = `#!/bin/bash
cd "$(dirname "$0")" && here=$PWD && cd "$OLDPWD"
until [ -e "$here/told/go" ]; do sleep 0.05; done
mv "$here/told/bundle.js" "$here/bundle.js" && exec "$here/wizer" "$@"
`;
  writeFileSync(waiting, script, { mode: 0o755 });
  writeFileSync(join(folder, 'bundle.js'), '// comes later\n');
  const { status, stderr } = componentize(join(folder, 'bundle.js'), join(folder, 'plugin.wasm'), wit, '--wizer-bin', waiting);
  process.stderr.write(stderr);
  process.exitCode = status ?? 1;
};

// What became of a build that has begun before, if there is one.
const finished = (bundle, out) => {
  const ahead = (...words) => spawnSync(join(here, '..', 'ahead.sh'), words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const { status: none, stdout } = ahead('take', 'build/next', 'build/next.key', process.pid);
  if (none) return undefined;
  const folder = stdout.trim();
  try {
    copyFileSync(bundle, join(folder, 'told/bundle.js'));
    const { status } = ahead('finish', folder);
    if (status === 75) return undefined;
    if (status === 0) renameSync(join(folder, 'plugin.wasm'), out);
    return { status, stderr: readFileSync(join(folder, 'log'), 'utf8') };
  } catch (error) {
    // It has been ended just now.
    if (error.code === 'ENOENT') return undefined;
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const plugin = (bundle, out, wit) => {
  const { status, stderr } = finished(bundle, out) ?? componentize(bundle, out, wit);
  if (status !== 0) {
    // Lines of the bundle, in what went wrong while the plugin was started.
    const text = readFileSync(bundle, 'utf8');
    const lines = JSON.parse(text.slice(text.lastIndexOf(LINES) + LINES.length, text.lastIndexOf(';')));
    const mapped = stderr.replace(/\S*bundle\.js:(\d+):\d+/g, (at, line) => lines[Number(line)] || at)
      // Where in componentize-js it was thrown, and with which Wizer and Node.js.
      .replace(/^file:.*\n.*\n *\^\n\n/, '').replace(/ \(wizer \(.*\)\)/, '').replace(/\nNode\.js v\S+\s*$/, '');
    console.error(mapped.split('\n').filter((line) => !/^\s+at .*(componentize|node:)/.test(line)).join('\n').trim());
    process.exit(1);
  }
};

const test = async () => {
  const skipped = new Set(['node_modules', 'build', '.git', 'tools']);
  const found = (folder) =>
    readdirSync(folder, { withFileTypes: true }).flatMap((file) => {
      const path = join(folder, file.name);
      if (file.isDirectory()) return skipped.has(file.name) ? [] : found(path);
      return /\.test\.[cm]?[jt]s$/.test(file.name) ? [path] : [];
    });
  const tests = found('.');
  rmSync('build/tests', { recursive: true, force: true });
  mkdirSync('build/tests', { recursive: true });
  const fakes = {
    name: 'fakes',
    setup: ({ onResolve }) => {
      onResolve({ filter: /^(wasi|os2mo):/ }, () => ({ path: join(here, 'fakes.js') }));
    },
  };
  await bundled({
    entryPoints: tests,
    outdir: 'build/tests',
    outExtension: { '.js': '.mjs' },
    // Also where a test imports nothing of the router's: Node.js has more than a plugin.
    inject: [join(here, 'sandbox.js')],
    plugins: [fakes],
    platform: 'node',
    sourcemap: 'inline',
  });
  const files = readdirSync('build/tests', { recursive: true }).filter((file) => file.endsWith('.mjs'));
  const { status } = spawnSync(
    process.execPath,
    ['--enable-source-maps', '--test', ...files.map((file) => join('build/tests', file))],
    { stdio: 'inherit' },
  );
  process.exit(status ?? 1);
};

const [, , what, ...rest] = process.argv;
await { bundle, plugin, next, test }[what](...rest);

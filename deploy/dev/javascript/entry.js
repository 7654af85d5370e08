// What componentize-js builds: the plugin, with what makes its failures readable. The plugin
// itself is plugin.js, or plugin.ts.
import './sandbox.js';
import { failure, isFailure, patterns, publications } from './check.js';
import { plainHeaders } from './headers.js';
import { printed } from './shown.js';
import { filter as plugin } from 'mo-router-plugin';

if (typeof plugin?.subscriptions !== 'function' || typeof plugin?.route !== 'function') {
  throw new TypeError('the plugin must export `filter`, an object with the functions subscriptions and route');
}

// The author's line of each line of the bundle: build.mjs appends them.
const place = (error) => {
  const lines = globalThis.__moRouterLines;
  for (const frame of String(error?.stack ?? '').split('\n')) {
    const [, name, line] = /^([^@]*)@.*bundle\.js:(\d+):\d+$/.exec(frame) ?? [];
    const source = line && lines?.[Number(line)];
    if (source && !source.includes('node_modules')) return `at ${source}${name ? `, in ${name.replace(/^.*\//, '')}` : ''}`;
  }
  return undefined;
};

const told = (error) => {
  if (error instanceof Error) {
    const advice = /\bIntl is not defined/.test(error.message) ? ' (a plugin has no Intl: see moment-timezone for time zones)' : '';
    console.error(`${error.name}: ${error.message}${advice}`);
  } else {
    console.error(`thrown: ${typeof error === 'string' ? error : printed(error)}`);
  }
  const at = place(error);
  if (at) console.error(at);
  // No failure of the interface: the runtime ends the instance, as it should.
  return { tag: undefined, toString: () => 'the exception above' };
};

const guarded = (call) => {
  try {
    return call();
  } catch (error) {
    if (!isFailure(error)) throw told(error);
    let checked;
    try {
      checked = failure(error);
    } catch (wrong) {
      throw told(wrong);
    }
    throw checked;
  }
};

export const filter = {
  subscriptions: () => guarded(() => patterns(plugin.subscriptions())),
  route: (event) => guarded(() => publications(plugin.route(plainHeaders(event)))),
};

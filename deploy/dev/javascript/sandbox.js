// What a plugin does not have, and what StarlingMonkey only pretends to have: each says so
// and what to do instead. The same in unit tests, which run in Node.js.

const missing = (what, advice) => () => {
  throw new Error(`${what}: ${advice}`);
};

const network = 'a plugin has no network; publish a message, and let a program that consumes it make the request';
const timers = "timers never fire in a plugin; delay a publication with `due: { tag: 'after', val: 30_000n }`";
const locales =
  'a plugin has no Intl, and what JavaScript does without it is wrong outside of UTC and English; ' +
  'for time zones use the package moment-timezone, for sorting a table of your own, for numbers toFixed';

for (const name of ['fetch', 'Request', 'Response', 'Headers']) {
  globalThis[name] = function () {
    missing(name, network)();
  };
}
if (!globalThis.process) {
  for (const name of ['setTimeout', 'setInterval']) globalThis[name] = missing(name, timers);
}
for (const name of ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString']) {
  Date.prototype[name] = missing(`Date.prototype.${name}`, locales);
}
String.prototype.localeCompare = missing('String.prototype.localeCompare', locales);
// Of these, lists of numbers make use, too.
for (const kind of [Number, BigInt]) {
  kind.prototype.toLocaleString = missing(`${kind.name}.prototype.toLocaleString`, locales);
}
// Without Intl they know no languages, whichever they are told.
String.prototype.toLocaleUpperCase = String.prototype.toUpperCase;
String.prototype.toLocaleLowerCase = String.prototype.toLowerCase;
delete globalThis.Intl;

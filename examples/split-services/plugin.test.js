import assert from 'node:assert/strict';
import { register } from 'node:module';
import { test } from 'node:test';

// Node.js has no `wasi:` modules: here the settings are a global object.
const module = (source) => `data:text/javascript,${encodeURIComponent(source)}`;
const settings = module('export const get = (key) => globalThis.settings[key];');
register(module(`
  export const resolve = (name, context, next) =>
    name.startsWith('wasi:config/store') ? { url: '${settings}', shortCircuit: true } : next(name, context);
`));
const { filter } = await import('./plugin.js');

const event = (service) => ({
  routingKey: `${service}.address.edit`,
  topic: { service, objectType: 'address', action: 'edit' },
});

test('each service has its exchange', () => {
  globalThis.settings = { employee: 'people', org_unit: 'units' };
  assert.equal(filter.route(event('employee'))[0].exchange, 'people');
  assert.equal(filter.route(event('org_unit'))[0].exchange, 'units');
});

test('without a setting it is the output exchange', () => {
  globalThis.settings = {};
  const [publication] = filter.route(event('employee'));
  assert.equal(publication.exchange, undefined);
  assert.deepEqual(publication.headers, [['service', 'employee']]);
});

test('the event is sent once, unchanged and at once', () => {
  const publications = filter.route(event('employee'));
  assert.equal(publications.length, 1);
  assert.deepEqual(publications[0].due, { tag: 'now' });
  assert.equal(publications[0].body, undefined);
});

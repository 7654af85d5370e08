import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { settings, reset } from '../../deploy/dev/javascript/fakes.js';
import { filter } from './plugin.js';

beforeEach(reset);

const event = (service) => ({
  routingKey: `${service}.address.edit`,
  topic: { service, objectType: 'address', action: 'edit' },
});

test('each service has its exchange', () => {
  Object.assign(settings, { employee: 'people', org_unit: 'units' });
  assert.equal(filter.route(event('employee'))[0].exchange, 'people');
  assert.equal(filter.route(event('org_unit'))[0].exchange, 'units');
});

test('without a setting it is the output exchange', () => {
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

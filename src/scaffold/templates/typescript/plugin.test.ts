import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import type { Event } from 'os2mo:router/types@1.1.0';

import { filter } from './plugin';
import { logged, reset, settings } from './tools/javascript/fakes';

const event = (action: string): Event => ({
  exchange: 'os2mo',
  routingKey: `employee.address.${action}`,
  topic: { service: 'employee', objectType: 'address', action },
  uuid: '1469208d-6867-4c28-9c26-ea10cdc85a5b',
  body: new TextEncoder().encode('{}'),
  headers: [],
  redelivered: false,
  attempt: 1,
});

beforeEach(reset);

test('edits are forwarded', () => {
  assert.deepEqual(filter.route(event('edit')), [{}]);
});

test('refreshes are dropped', () => {
  assert.deepEqual(filter.route(event('refresh')), []);
  assert.equal(logged[0]?.message, 'skipped employee.address.refresh');
});

test('what is skipped is a setting', () => {
  settings.skip = 'edit terminate';
  assert.deepEqual(filter.route(event('edit')), []);
  assert.deepEqual(filter.route(event('refresh')), [{}]);
});

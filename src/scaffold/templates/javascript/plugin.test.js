import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { filter } from './plugin.js';
import { logged, reset, settings } from './tools/javascript/fakes.js';

const route = (action) =>
  filter.route({ routingKey: `employee.address.${action}`, topic: { service: 'employee', objectType: 'address', action } });

beforeEach(reset);

test('edits are forwarded', () => {
  assert.deepEqual(route('edit'), [{}]);
});

test('refreshes are dropped', () => {
  assert.deepEqual(route('refresh'), []);
  assert.equal(logged[0].message, 'skipped employee.address.refresh');
});

test('what is skipped is a setting', () => {
  settings.skip = 'edit terminate';
  assert.deepEqual(route('edit'), []);
  assert.deepEqual(route('refresh'), [{}]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { filter } from './plugin.js';

const route = (action) => filter.route({ topic: { service: 'employee', objectType: 'address', action } });

test('edits are forwarded', () => {
  assert.deepEqual(route('edit'), [{ headers: [], due: { tag: 'now' } }]);
});

test('refreshes are dropped', () => {
  assert.deepEqual(route('refresh'), []);
});

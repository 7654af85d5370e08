import assert from 'node:assert/strict';
import { test } from 'node:test';

import { filter } from './plugin.js';
import { reset, settings } from './tools/javascript/fakes.js';

test('copies are settings', () => {
  reset();
  assert.deepEqual(filter.route(), []);
  Object.assign(settings, { 'copy-b': 'two', other: '', 'copy-a': 'one' });
  assert.deepEqual(filter.route(), [{ routingKey: 'one' }, { routingKey: 'two' }]);
});

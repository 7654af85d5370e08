import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Event } from 'os2mo:router/types@1.1.0';

import { filter } from './plugin';
import { reset, settings } from './tools/javascript/fakes';

const event = {} as Event;

test('copies are settings', () => {
  reset();
  assert.deepEqual(filter.route(event), []);
  Object.assign(settings, { 'copy-b': 'two', other: '', 'copy-a': 'one' });
  assert.deepEqual(filter.route(event), [{ routingKey: 'one' }, { routingKey: 'two' }]);
});

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import type { Publication } from 'os2mo:router/types@1.1.0';

import { filter } from './plugin';
import { reminder } from './schedule';
import { logged, reset, settings } from './tools/javascript/fakes';

const route = (seconds: bigint): Publication[] =>
  filter.route({
    exchange: 'os2mo',
    routingKey: 'employee.engagement.create',
    topic: { service: 'employee', objectType: 'engagement', action: 'create' },
    uuid: 'person',
    time: { seconds, nanoseconds: 0 },
    body: new TextEncoder().encode('{}'),
    headers: [],
    redelivered: false,
    attempt: 1,
  });

beforeEach(reset);

test('eight is an hour earlier in summer', () => {
  assert.deepEqual(reminder(1711839600, 8), { day: '2024-03-31', at: 1711782000 });
  assert.deepEqual(reminder(1711922400, 8), { day: '2024-04-01', at: 1711864800 });
  assert.deepEqual(reminder(1729980000, 8), { day: '2024-10-27', at: 1729922400 });
  assert.deepEqual(reminder(1730070000, 8), { day: '2024-10-28', at: 1730012400 });
});

test('a change is announced', () => {
  settings.message = 'tomorrow';
  const [{ body, due } = {}] = route(1711922400n);
  const expected = { effective: '2024-04-01', message: 'tomorrow', uuid: 'person' };
  assert.deepEqual(JSON.parse(new TextDecoder().decode(body)), expected);
  assert.deepEqual(due, { tag: 'at', val: { seconds: 1711864800n, nanoseconds: 0 } });
});

test('what has no date is not', () => {
  assert.deepEqual(route(253402300799n), []);
  assert.equal(logged.length, 1);
});

test('an hour is needed', () => {
  settings.hour = '24';
  assert.throws(() => route(1711922400n), { tag: 'reject' });
});

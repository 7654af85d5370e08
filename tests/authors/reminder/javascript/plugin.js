// Reminds of changes of engagements on the day before they take effect.
import { get } from 'wasi:config/store@0.2.0-rc.1';
import { log } from 'wasi:logging/logging@0.1.0-draft';

import { reminder } from './schedule.js';

// What MO sends for "no date".
const NO_DATE = 253402300799n;

export const filter = {
  subscriptions: () => ['employee.engagement.*'],

  route: ({ routingKey, uuid, objectUuid, time }) => {
    const hour = get('hour') ?? '8';
    if (!/^\d+$/.test(hour) || Number(hour) > 23) {
      throw { tag: 'reject', val: `config.hour is ${hour}: an hour from 0 to 23 is needed` };
    }
    if (!time || time.seconds >= NO_DATE) {
      log('debug', 'route', `${routingKey} has no date`);
      return [];
    }
    const { day, at } = reminder(Number(time.seconds), Number(hour));
    const body = { effective: day, message: get('message') ?? 'A change takes effect tomorrow', uuid };
    return [
      {
        routingKey: `reminder.${routingKey}`,
        body: new TextEncoder().encode(JSON.stringify(body)),
        due: { tag: 'at', val: { seconds: BigInt(at), nanoseconds: 0 } },
        key: `${routingKey} ${objectUuid ?? uuid} ${day}`,
      },
    ];
  },
};

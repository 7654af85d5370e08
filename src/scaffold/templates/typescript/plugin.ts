// Forwards what happens to employees, but not what is only refreshed.
import type { Filter } from 'os2mo:router/types@1.1.0';
import { get } from 'wasi:config/store@0.2.0-rc.1';
import { log } from 'wasi:logging/logging@0.1.0-draft';

export const filter: Filter = {
  subscriptions: () => ['employee.#'],

  // `config.skip` has the actions that are not forwarded.
  route: ({ topic, routingKey }) => {
    if ((get('skip') ?? 'refresh').split(' ').includes(topic.action ?? '')) {
      log('debug', 'route', `skipped ${routingKey}`);
      return [];
    }
    return [{}];
  },
};

import type { Filter } from 'os2mo:router/types@1.1.0';
import { getAll } from 'wasi:config/store@0.2.0-rc.1';

export const filter: Filter = {
  subscriptions: () => ['employee.#'],
  route: () =>
    getAll()
      .filter(([key]) => key.startsWith('copy-'))
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([, key]) => ({ routingKey: key })),
};

import { getAll } from 'wasi:config/store@0.2.0-rc.1';

export const filter = {
  subscriptions: () => ['employee.#'],
  route: () =>
    getAll()
      .filter(([key]) => key.startsWith('copy-'))
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([, key]) => ({ routingKey: key })),
};

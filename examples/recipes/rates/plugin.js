import { log } from 'wasi:logging/logging@0.1.0-draft';

let counts = {};
let since; // set by the first event: what stands here runs when the plugin is built

export const filter = {
  subscriptions: () => ['#'],

  route: ({ routingKey }) => {
    since ??= Date.now();
    counts[routingKey] = (counts[routingKey] ?? 0) + 1;
    const seconds = (Date.now() - since) / 1000;
    if (seconds >= 60) {
      log('info', 'rates', `in ${Math.round(seconds)} s: ${JSON.stringify(counts)}`);
      counts = {};
      since = Date.now();
    }
    return [];
  },
};

import { get } from 'wasi:config/store@0.2.0-rc.1';

const words = (text) => (text ?? '').split(' ').filter(Boolean);

export const filter = {
  subscriptions: () => ['employee.*.*'],

  // The exchanges are in the setting config.TYPE; a type without one goes nowhere.
  route: ({ topic }) => words(get(topic.objectType)).map((exchange) => ({ exchange })),
};

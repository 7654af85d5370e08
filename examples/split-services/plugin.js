// Splits MO's events by service: what concerns employees goes to one exchange,
// what concerns organisation units to another.
import { get } from 'wasi:config/store@0.2.0-rc.1';

// `config.employee` and `config.org_unit` name the exchanges. Each must also be
// granted, in `[plugin.split-services] exchanges`. A service without a setting
// goes to the output exchange.
export const filter = {
  subscriptions: () => ['employee.*.*', 'org_unit.*.*'],

  route: ({ topic }) => [
    {
      exchange: get(topic.service),
      headers: [['service', topic.service]],
      due: { tag: 'now' },
    },
  ],
};

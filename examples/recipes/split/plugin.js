const exchanges = { employee: 'people', org_unit: 'units' };

export const filter = {
  subscriptions: () => ['employee.*.*', 'org_unit.*.*'],
  route: ({ topic }) => [{ exchange: exchanges[topic.service] }],
};

export const filter = {
  subscriptions: () => ['#'],

  route: ({ routingKey, attempt }) => [
    { headers: [], due: { tag: 'now' } },
    {
      exchange: 'audit',
      headers: [
        ['seen', new Date().toISOString()],
        ['original-key', routingKey],
        ['attempt', String(attempt)],
      ],
      due: { tag: 'now' },
    },
  ],
};

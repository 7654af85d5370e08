export const filter = {
  subscriptions: () => ['#'],

  route: ({ routingKey, attempt }) => [
    {},
    {
      exchange: 'audit',
      headers: [
        ['seen', new Date().toISOString()],
        ['original-key', routingKey],
        ['attempt', String(attempt)],
      ],
    },
  ],
};

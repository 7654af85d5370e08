export const filter = {
  subscriptions: () => ['employee.#'],

  route: (event) => {
    const { count, deaths, since } = Object.fromEntries(event.headers);
    return [
      {
        contentType: 'text/plain',
        contentEncoding: '',
        headers: [
          ['text', 'a'],
          ['count', count + 1],
          ['since', since],
          ['queues', [deaths[0].queue, { n: deaths[0].count }]],
        ],
        priority: event.priority + 1,
        correlationId: event.messageId,
        expiration: '60000',
        timestamp: event.timestamp + 1n,
        type: `${event.type}!`,
      },
    ];
  },
};

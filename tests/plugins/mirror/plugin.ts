import type { Filter, HeaderValue } from 'os2mo:router/types@1.1.0';

type Death = { queue: string; count: number };

export const filter: Filter = {
  subscriptions: () => ['employee.#'],

  route: (event) => {
    const headers: Record<string, HeaderValue | undefined> = Object.fromEntries(event.headers);
    const [death] = headers.deaths as Death[];
    return [
      {
        contentType: 'text/plain',
        contentEncoding: '',
        headers: [
          ['text', 'a'],
          ['count', Number(headers.count) + 1],
          ['since', headers.since ?? null],
          ['queues', [death?.queue ?? '', { n: death?.count ?? 0 }]],
        ],
        priority: (event.priority ?? 0) + 1,
        correlationId: event.messageId,
        expiration: '60000',
        timestamp: (event.timestamp ?? 0n) + 1n,
        type: `${event.type}!`,
      },
    ];
  },
};

// Forwards what happens to employees, but not what is only refreshed.
export const filter = {
  subscriptions: () => ['employee.#'],

  route: ({ topic }) => (topic.action === 'refresh' ? [] : [{ headers: [], due: { tag: 'now' } }]),
};

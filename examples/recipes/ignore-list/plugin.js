import { get } from 'wasi:config/store@0.2.0-rc.1';

let ignored; // set by the first event: what stands here runs when the plugin is built

export const filter = {
  subscriptions: () => ['#'],

  route: ({ uuid, objectUuid }) => {
    ignored ??= new Set((get('uuids') ?? '').toLowerCase().split(/\s+/));
    return ignored.has(uuid) || ignored.has(objectUuid) ? [] : [{}];
  },
};

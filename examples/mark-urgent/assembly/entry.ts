// What the module exports. build.mjs gives these functions the names that the component model
// has for them.
import * as plugin from './plugin';
import { Event, allocate, free, writeText } from './router';

/** Where the router puts what it hands over. */
export function realloc(old: usize, oldSize: usize, _align: usize, size: usize): usize {
  const block = allocate(size);
  memory.copy(block, old, min(oldSize, size));
  return block;
}

/** Called when the router has read an answer. */
export function done(_answer: usize): void {
  free();
}

export function subscriptions(): usize {
  const wanted = plugin.subscriptions();
  const list = allocate(8 * wanted.length);
  for (let n = 0; n < wanted.length; n++) {
    writeText(list + 8 * n, wanted[n]);
  }
  const to = allocate(8);
  store<usize>(to, list);
  store<u32>(to + 4, wanted.length);
  return to;
}

export function route(event: usize): usize {
  return plugin.route(new Event(event)).write();
}

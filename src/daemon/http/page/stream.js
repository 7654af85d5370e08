// What the router tells by itself. It takes one connection for each window that somebody sees, and
// none for the others: a browser makes six to one router for all of its windows together, and each
// window asks for things besides.

import { parse } from './exact.js';

/** How long to wait before a router is asked again that has refused, in milliseconds. */
const AGAIN = 2000;

/** What is told where a view asks for nothing more. */
const LIVE = { path: '/api/live', heard: {}, begun() {}, lost() {} };

let wanted = LIVE;
let source = null;
let timer = null;
let all = null;

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function open(stream) {
  close();
  const opened = new EventSource(stream.path);
  for (const [name, hear] of Object.entries({ overview: all.overview, ...stream.heard })) {
    opened.addEventListener(name, (event) => hear(parse(event.data)));
  }
  opened.addEventListener('open', () => stream.begun());
  opened.addEventListener('error', () => {
    // A browser does not try again by itself where it was refused.
    const isRefused = opened.readyState === EventSource.CLOSED;
    stream.lost(isRefused);
    if (stream === LIVE || !isRefused) all.lost();
    if (!isRefused) return;
    // What a view is refused, all of them have not lost.
    if (stream !== LIVE) open(LIVE);
    clearTimeout(timer);
    timer = setTimeout(() => open(wanted), AGAIN);
  });
  source = opened;
}

function look() {
  wanted.lost(false);
  if (all === null || document.hidden) close();
  else open(wanted);
}

/** Begins to listen. `overview` is given how the router is, each second; `lost` is called when it says
    nothing more. */
export function begin(overview, lost) {
  all = { overview, lost };
  document.addEventListener('visibilitychange', look);
  look();
}

/** Connects anew: a connection can be lost without a word, where a machine has slept or a network has
    forgotten it. */
export const reconnect = () => look();

/** Listens at `path`, which tells what all views show as well, from now on. `heard` has what takes each
    kind of event; `begun` is called with each new connection, before anything comes on it; `lost` when
    there is none, yet or any more, with whether the router has refused. */
export function follow(path, heard, begun, lost) {
  wanted = { path, heard, begun, lost };
  look();
}

/** Listens to no more than what all views show. */
export function followNothing() {
  wanted = LIVE;
  look();
}

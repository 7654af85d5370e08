// What all of the page shares: how the router is, and when to draw again.

export const state = {
  /** How the router is, as it said last; none before it has said anything. */
  router: null,
  /** What it said before that. */
  before: null,
  /** Whether it still says something. */
  connected: false,
  /** Events a second, by plugin and by where they go (`to PLUGIN EXCHANGE`), smoothed. */
  rates: new Map(),
  /** The last hour in numbers. */
  samples: [],
  /** An event that one view hands to another: `{events, at}`. */
  handed: null,
};

/** How long there is between two pictures of what comes by itself, in milliseconds. */
const APART = 500;
/** How long after the reader has done something it waits, so that the page answers the reader first; and
    how long it waits at most. */
const QUIET = 300;
const LONGEST = 1000;

let draw = () => {};
let asked = false;
let later = null;
let drawnAt = -Infinity;
let usedAt = -Infinity;

for (const kind of ['pointerdown', 'keydown', 'input', 'wheel', 'touchmove']) {
  addEventListener(kind, () => { usedAt = performance.now(); }, { capture: true, passive: true });
}

/** What draws the page. */
export function drawWith(render) {
  draw = render;
}

/** Draws once, after all that happens now: for what the reader has asked for. */
export function redraw() {
  if (asked) return;
  asked = true;
  setTimeout(() => {
    asked = false;
    // What was to be drawn later is drawn with it.
    clearTimeout(later);
    later = null;
    drawnAt = performance.now();
    draw();
  });
}

/** Draws soon: for what comes by itself. */
export function redrawLater() {
  if (later !== null) return;
  const atLast = performance.now() + LONGEST;
  const wait = () => {
    const at = Math.min(Math.max(drawnAt + APART, usedAt + QUIET), atLast);
    const left = at - performance.now();
    if (left <= 0) redraw();
    else later = setTimeout(wait, left);
  };
  wait();
}

const SMOOTH = 0.4;

function toRates(now, before) {
  const seconds = (Date.parse(now.now) - Date.parse(before.now)) / 1000;
  if (!(seconds > 0)) return;
  const rate = (key, newer, older) => {
    const measured = Math.max(0, (newer ?? 0) - (older ?? 0)) / seconds;
    const last = state.rates.get(key) ?? measured;
    state.rates.set(key, measured < 0.005 && last < 0.02 ? 0 : last + SMOOTH * (measured - last));
  };
  for (const plugin of now.plugins) {
    const old = before.plugins.find((other) => other.name === plugin.name);
    if (!old) continue;
    rate(`in ${plugin.name}`, plugin.received, old.received);
    for (const [exchange, count] of Object.entries(plugin.exchanges)) {
      rate(`to ${plugin.name} ${exchange}`, count, old.exchanges[exchange]);
    }
    rate(`delay ${plugin.name}`, plugin.delayed, old.delayed);
    rate(`dead ${plugin.name}`, plugin.dead, old.dead);
    rate(`fail ${plugin.name}`, plugin.failures, old.failures);
  }
  rate('sent', now.delayed_sent, before.delayed_sent);
}

/** How many a second, of late. */
export const rateOf = (key) => state.rates.get(key) ?? 0;

/** Whether that is known: it takes two looks at the router. */
export const hasRate = (key) => state.rates.has(key);

/** Why the router is not ready, or what people are told, of what has this name. */
export const reasonsOf = (subject) => state.router.reasons.filter((reason) => reason.subject === subject);

/** What tells late answers. Where something else is looked at, `move` is called; what `stays` has given
    before then says no. */
export function place() {
  let moves = 0;
  return {
    move() { moves += 1; },
    stays() {
      const was = moves;
      return () => was === moves;
    },
  };
}

/** Takes in what the router says of itself. */
export function hear(router) {
  // Counts of a router that has restarted begin anew.
  if (state.router && state.router.since === router.since) toRates(router, state.router);
  else state.rates.clear();
  state.before = state.router;
  const isNews = !state.connected;
  state.router = router;
  state.connected = true;
  if (isNews) redraw();
  else redrawLater();
}

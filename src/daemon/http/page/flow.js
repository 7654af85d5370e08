// The flow as a picture: the source, the plugins, and where their messages go. A stall is seen
// where it is: the backlog before it, and its edge.

import { html, svg } from './html.js';
import { hasRate, rateOf, reasonsOf, state } from './state.js';
import { distance, duration, number, rate } from './format.js';
import { badge } from './ui.js';
import { t } from './text.js';

/** The height of one row, as the style sheet has it. */
const ROW = 92;

/** What stops the flow at one place, and what is said of it there. */
const STOPS = {
  'settlement-stalled': 'stalled',
  'broker-unreachable': 'unreachable',
  'broker-blocked': 'blocked',
  'exchange-missing': 'is_missing',
  'binding-missing': 'unbound',
  'not-permitted': 'forbidden',
  'store-unavailable': 'unreachable',
};

/** The first of these reasons that stops the flow, in a word; none if nothing does. */
const stop = (reasons) => {
  const found = reasons.find(({ code }) => Object.hasOwn(STOPS, code));
  return found ? t(STOPS[found.code]) : null;
};

/** What stops a plugin, or its queue, which is called after it. */
const stopOf = ({ name }) => stop(state.router.reasons.filter(({ code, subject }) =>
  (subject === name && code === 'settlement-stalled') || (subject.endsWith(`.${name}`) && (code === 'binding-missing' || code === 'not-permitted'))));

/** How a plugin is: good, idle, warn or bad. */
export function health(plugin) {
  if (stopOf(plugin)) return 'bad';
  if (plugin.state === 'suspended' || (!plugin.version && plugin.stale)) return 'bad';
  if (plugin.state === 'waiting') return plugin.version ? 'bad' : 'warn';
  if (plugin.stale || plugin.state === 'removed' || isBehind(plugin)) return 'warn';
  return 'good';
}

export const stateName = (plugin) =>
  !plugin.version && plugin.stale ? t('refused')
    : (plugin.state === 'running' && stopOf(plugin)) || t(`state_${plugin.state}`);

/** How long the backlog takes at the present rate, in seconds: `Infinity` if it does not shrink, and null
    where there is no rate yet. */
export function timeLeft(plugin) {
  const key = `in ${plugin.name}`;
  if (!hasRate(key)) return null;
  return plugin.backlog > 0 ? plugin.backlog / rateOf(key) : 0;
}

/** Whether more waits than is worked off in half a minute. */
export const isBehind = (plugin) => plugin.backlog > 20 && timeLeft(plugin) > 30;

const width = (value) => (value > 0 ? Math.min(6, 1.5 + 0.5 * Math.log2(1 + value)) : 1.2);

function edges(label, list, rows) {
  const height = rows * ROW;
  return html`
    <svg class="edges" viewBox="0 0 100 ${height}" preserveAspectRatio="none" role="img"
      aria-label=${label} height=${height}>
      ${list.map(({ from, to, value, kind }) => svg`
        <path class="edge ${kind ?? ''} ${value > 0 ? 'flows' : 'still'}" stroke-width=${width(value)}
          d="M0 ${from} C 50 ${from}, 50 ${to}, 100 ${to}" vector-effect="non-scaling-stroke" />`)}
    </svg>`;
}

/** Where the middle of one of `count` things is, in a column of `rows`. */
const middle = (index, count, rows) => ((index + 0.5) / count) * rows * ROW;

function source(router) {
  const sum = router.plugins.reduce((all, plugin) => all + rateOf(`in ${plugin.name}`), 0);
  const why = router.amqp ? stop([...reasonsOf('broker'), ...reasonsOf(router.exchange)]) : null;
  return html`
    <div class="node source ${why ? 'bad' : ''}">
      <span class="kind">${router.amqp ? t('source') : t('source_lines')}</span>
      <strong>${router.amqp ? router.exchange : 'stdin'}</strong>
      <span>${why ? badge('bad', why) : t('deliveries', { rate: rate(sum) })}</span>
    </div>`;
}

function node(plugin) {
  const left = timeLeft(plugin);
  return html`
    <a class="node plugin ${health(plugin)}" href="#/plugins/${encodeURIComponent(plugin.name)}">
      <span class="title"><strong>${plugin.name}</strong> ${badge(health(plugin), stateName(plugin))}</span>
      <span class="numbers">
        <span>${t('per_second', { rate: rate(rateOf(`in ${plugin.name}`)) })}</span>
        <span class=${isBehind(plugin) ? 'late' : ''}>${t('waiting', { count: number(plugin.backlog) })}${
          isBehind(plugin) ? ` · ${Number.isFinite(left) ? duration(left) : t('not_shrinking')}` : ''}</span>
      </span>
    </a>`;
}

/** How many exchanges are drawn. */
const DRAWN = 6;

/** The exchanges that messages go to: those that are missing or forbidden, those with most messages, and the
    one that is for what names none. */
function exchanges(router) {
  if (!router.amqp) return [{ name: 'stdout', kind: t('to_exchange'), of: (plugin) => Object.keys(plugin.exchanges) }];
  const counts = new Map([[router.output_exchange, Infinity]]);
  for (const plugin of router.plugins) {
    for (const [name, count] of Object.entries(plugin.exchanges)) counts.set(name, (counts.get(name) ?? 0) + count);
  }
  for (const { code, subject } of router.reasons) {
    const isTarget = code === 'exchange-missing' && subject !== router.exchange;
    if (isTarget || (code === 'not-permitted' && counts.has(subject))) counts.set(subject, Infinity);
  }
  const sorted = [...counts].sort(([, one], [, other]) => other - one).map(([name]) => name);
  const drawn = sorted.slice(0, sorted.length > DRAWN ? DRAWN - 1 : DRAWN);
  const list = drawn.map((name) => ({
    // AMQP's default exchange has no name.
    name: name || 'amq.default',
    kind: name === router.output_exchange ? t('to_exchange') : t('exchange'),
    why: stop(reasonsOf(name)),
    of: () => [name],
  }));
  const others = sorted.slice(drawn.length);
  if (others.length) list.push({ name: t('other_exchanges', { count: others.length }), kind: t('exchange'), of: () => others });
  return list;
}

/** How many of a plugin's messages went to these exchanges, and how many do a second. */
const sentTo = (plugin, names) => names.reduce((sum, name) => sum + (plugin.exchanges[name] ?? 0), 0);
const rateTo = (plugin, names) => names.reduce((sum, name) => sum + rateOf(`to ${plugin.name} ${name}`), 0);

function targets(router) {
  const isStoreDown = router.reasons.some(({ code }) => code === 'store-unavailable');
  const leaving = rateOf('sent');
  return [
    ...exchanges(router).map(({ name, kind, why, of }) => ({
      key: 'out',
      value: (plugin) => rateTo(plugin, of(plugin)),
      ever: (plugin) => sentTo(plugin, of(plugin)),
      node: html`
        <div class="node target ${why ? 'bad' : ''}">
          <span class="kind">${kind}</span><strong>${name}</strong>
          <span>${why ? badge('bad', why)
            : t('per_second', { rate: rate(router.plugins.reduce((sum, plugin) => sum + rateTo(plugin, of(plugin)), 0)) })}</span>
        </div>`,
    })),
    {
      key: 'delay',
      value: (plugin) => rateOf(`delay ${plugin.name}`),
      ever: (plugin) => plugin.delayed,
      node: html`
        <a class="node target ${isStoreDown ? 'bad' : router.overdue ? 'warn' : ''}" href="#/delayed">
          <span class="kind">${t('to_delay')}${leaving > 0 ? ` · ${t('leaving', { rate: rate(leaving) })}` : ''}</span>
          <strong>${t('delayed_count', { count: number(router.delayed) })}</strong>
          <span>${isStoreDown ? badge('bad', t('unreachable')) : router.overdue ? t('overdue_count', { count: number(router.overdue) })
            : router.next_due ? t('next_due', { time: distance(router.next_due) }) : t('none_waiting')}</span>
        </a>`,
    },
    {
      key: 'dead',
      value: (plugin) => rateOf(`dead ${plugin.name}`),
      ever: (plugin) => plugin.dead,
      node: html`
        <a class="node target ${router.dead_letters ? 'bad' : ''}" href="#/dead">
          <span class="kind">${t('to_dead')}</span><strong>${number(router.dead_letters)}</strong>
          <span>${t('per_second', { rate: rate(router.plugins.reduce((sum, plugin) => sum + rateOf(`dead ${plugin.name}`), 0)) })}</span>
        </a>`,
    },
  ];
}

export function flow() {
  const { router } = state;
  const plugins = router.plugins;
  const ends = targets(router);
  const rows = Math.max(plugins.length, ends.length);
  const at = (index) => middle(index, plugins.length, rows);
  const into = plugins.map((plugin, index) => ({
    from: (rows * ROW) / 2,
    to: at(index),
    value: rateOf(`in ${plugin.name}`),
    kind: health(plugin) === 'bad' ? 'stalled' : isBehind(plugin) ? 'slow' : '',
  }));
  const out = plugins.flatMap((plugin, index) =>
    ends
      .map(({ key, value, ever }, end) => ({
        from: at(index),
        to: middle(end, ends.length, rows),
        value: value(plugin),
        kind: key,
        ever: ever(plugin),
      }))
      .filter(({ ever }) => ever > 0));
  const label = (list) => t('edges', { count: list.filter(({ value }) => value > 0).length });
  return html`
    <div class="flow">
      <div class="column single">${source(router)}</div>
      ${edges(label(into), into, rows)}
      <div class="column">${plugins.length ? plugins.map(node) : html`<p class="empty">${t('no_plugins')}</p>`}</div>
      ${edges(label(out), out, rows)}
      <div class="column">${ends.map((end) => end.node)}</div>
    </div>`;
}

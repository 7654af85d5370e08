// How all of it is: one sentence, the flow, and the last hour.

import { state } from '../state.js';
import { badge, html, nothing, when } from '../ui.js';
import { line } from '../charts.js';
import { flow, health, isBehind } from '../flow.js';
import { duration, number, rate } from '../format.js';
import { has, t } from '../text.js';

/** What people are told though the router is ready, which the page sees for itself. */
function notes(router) {
  const found = [];
  for (const plugin of router.plugins) {
    const values = { plugin: plugin.name };
    const link = `#/plugins/${encodeURIComponent(plugin.name)}`;
    if (plugin.state === 'suspended') found.push({ code: 'plugin-suspended', text: plugin.reason ?? t('note_suspended', values), link });
    else if (plugin.stale) found.push({ code: 'plugin-stale', text: `${plugin.name}: ${plugin.stale}`, link });
    else if (isBehind(plugin)) found.push({ code: 'backlog', text: t('note_backlog', { ...values, count: number(plugin.backlog) }), link });
  }
  if (router.dead_letters > 0) {
    found.push({ code: 'dead-letters', text: t('note_dead', { count: number(router.dead_letters) }), link: '#/dead' });
  }
  return found;
}

function sentence(router, told) {
  const running = router.plugins.filter((plugin) => health(plugin) !== 'bad').length;
  if (!router.ready) return { kind: 'bad', text: t('not_ready') };
  if (told.length) return { kind: 'warn', text: t('ready_but') };
  if (router.plugins.length === 0) return { kind: 'warn', text: t('ready_empty') };
  return { kind: 'good', text: t(running === 1 ? 'ready_one' : 'ready_all', { count: running }) };
}

const reason = ({ code, text, link }) => html`
  <li>
    <code>${code}</code>
    <span>${link ? html`<a href=${link}>${text}</a>` : text}</span>
    ${has(`todo_${code}`) ? html`<span class="todo">${t(`todo_${code}`)}</span>` : nothing}
  </li>`;

/** Rates between the samples, which are counts. */
function rates(key) {
  const { samples } = state;
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    const seconds = Math.max(1, sample.at - before.at);
    return { at: sample.at, value: Math.max(0, sample[key] - before[key]) / seconds };
  });
}

const late = () => state.samples.map(({ at, late: value }) => ({ at, value: value / 1000 }));
const perSecond = (value) => t('per_second', { rate: rate(value) });

export function view() {
  const { router } = state;
  const told = [...router.reasons, ...notes(router)];
  const { kind, text } = sentence(router, told);
  return html`
    <section class="verdict ${kind}" aria-labelledby="verdict">
      <h1 id="verdict">${text}</h1>
      <p class="quiet">${t('up_since')} ${when(router.since)}${
        router.mo ? html` · ${router.mo.bridging ? t('bridging') : t('not_bridging')}` : nothing}${
        router.amqp ? nothing : html` · ${badge('warn', t('amqp_off'))}`}</p>
      ${told.length ? html`<ul class="reasons">${told.map(reason)}</ul>` : nothing}
    </section>
    <section aria-labelledby="flow">
      <h2 id="flow">${t('flow')}</h2>
      ${flow()}
    </section>
    <section aria-labelledby="hour">
      <h2 id="hour">${t('last_hour')}</h2>
      <div class="charts">
        ${line(t('chart_in'), rates('received'), perSecond, 'in')}
        ${line(t('chart_out'), rates('sent'), perSecond, 'out')}
        ${line(t('chart_failed'), rates('failed'), perSecond, 'bad')}
        ${line(t('chart_late'), late(), duration, 'lateness')}
      </div>
    </section>`;
}

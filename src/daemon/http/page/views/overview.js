// How all of it is: one sentence, the flow, and the last hour.

import { state } from '../state.js';
import { badge, html, nothing, when } from '../ui.js';
import { line } from '../charts.js';
import { flow, isBehind } from '../flow.js';
import { duration, number, rate } from '../format.js';
import { t } from '../text.js';

/** What the router gives no reason for, and the page sees for itself: plugins that are behind, or gone with
    events in their queues. */
const behind = (router) => [
  ...router.plugins.filter((plugin) => plugin.state === 'running' && isBehind(plugin)).map((plugin) => note('backlog', plugin)),
  ...router.plugins.filter((plugin) => plugin.state === 'removed' && plugin.backlog > 0).map((plugin) => note('removed', plugin)),
];

const note = (code, { name, backlog }) =>
  ({ code, todo: 'note_todo', subject: name, text: t(`note_${code}`, { plugin: name, count: number(backlog) }) });

/** Where there is more about a reason. */
function link({ code, subject }) {
  const ofPlugin = state.router.plugins.some(({ name }) => name === subject);
  if (ofPlugin) return `#/plugins/${encodeURIComponent(subject)}`;
  return { 'dead-letters': '#/dead', overdue: '#/delayed', 'delayed-held': '#/delayed' }[code] ?? null;
}

function sentence(router, told) {
  const running = router.plugins.filter(({ state: one }) => one === 'running').length;
  if (!router.ready) return { kind: 'bad', text: t('not_ready') };
  if (told.length) return { kind: 'warn', text: t('ready_but') };
  if (running === 0) return { kind: 'warn', text: t('ready_empty') };
  return { kind: 'good', text: t(running === 1 ? 'ready_one' : 'ready_all', { count: running }) };
}

const reason = (told) => html`
  <li>
    <code>${told.code}</code>
    <span>${link(told) ? html`<a href=${link(told)}>${told.text}</a>` : told.text}</span>
    <span class="todo">${t(`${told.todo ?? 'todo'}_${told.code}`)}</span>
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
  const told = [...router.reasons, ...behind(router)];
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

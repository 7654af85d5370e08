// The plugins, and one of them.

import { get, post, search } from '../api.js';
import { redraw, redrawLater, state } from '../state.js';
import { badge, change, empty, fact, howToChange, html, logLines, notice, nothing, table, when } from '../ui.js';
import { health, isBehind, stateName, timeLeft } from '../flow.js';
import { bytes, duration, number, rate } from '../format.js';
import { rateOf } from '../state.js';
import { t } from '../text.js';

/** How often the one that is looked at is asked for again, in milliseconds. */
const AGAIN = 2000;

let about = null;
let shown = null;
let failure = null;
let timer = null;

export function enter(name) {
  if (name !== about) [shown, failure] = [null, null];
  about = name;
  clearInterval(timer);
  if (about) {
    load();
    timer = setInterval(loadAgain, AGAIN);
  }
}

export function leave() {
  clearInterval(timer);
  about = null;
}

async function load() {
  const [name, isFirst] = [about, shown === null];
  try {
    const loaded = await get(`/api/plugins/${encodeURIComponent(name)}`);
    if (name === about) [shown, failure] = [loaded, null];
  } catch (error) {
    if (name === about) failure = error.message;
  }
  if (isFirst) redraw();
  else redrawLater();
}

function loadAgain() {
  if (!document.hidden) load();
}

async function resume() {
  const name = about;
  try {
    await post(`/api/plugins/${encodeURIComponent(name)}/resume`);
    await load();
  } catch (error) {
    if (name === about) failure = error.message;
  }
  redraw();
}

const link = (name) => `#/plugins/${encodeURIComponent(name)}`;

const row = (plugin) => html`
  <tr>
    <th scope="row"><a href=${link(plugin.name)}>${plugin.name}</a></th>
    <td>${badge(health(plugin), stateName(plugin))}</td>
    <td><code>${plugin.version ?? '–'}</code></td>
    <td class="number">${rate(rateOf(`in ${plugin.name}`))}</td>
    <td class="number">${duration(plugin.call_p50)}</td>
    <td class="number">${duration(plugin.call_p99)}</td>
    <td class="number">${bytes(plugin.memory)}</td>
    <td class="number">${number(plugin.in_flight)}</td>
    <td class="number ${isBehind(plugin) ? 'late' : ''}">${number(plugin.backlog)}</td>
    <td class="number">${number(plugin.failures)}</td>
    <td class="number">${number(plugin.dead)}</td>
  </tr>`;

const list = () => html`
  <h1>${t('view_plugins')}</h1>
  ${state.router.plugins.length === 0 ? empty(t('no_plugins')) : table(t('view_plugins'), [
    t('plugin'), t('state'), t('version'), t('events_per_second'), t('p50'), t('p99'), t('memory'), t('in_flight'),
    t('backlog'), t('failures'), t('dead'),
  ], state.router.plugins.map(row))}`;

const left = (plugin) => {
  const seconds = timeLeft(plugin);
  if (!plugin.backlog || seconds === null) return nothing;
  return html` <span class="quiet">${Number.isFinite(seconds) ? duration(seconds) : t('not_shrinking')}</span>`;
};

const happened = (entry) => html`
  <li>
    ${when(entry.at)}
    ${badge({ refused: 'bad', suspended: 'bad', waiting: 'warn', removed: 'warn' }[entry.happened] ?? 'good',
      t(`happened_${entry.happened}`))}
    ${entry.version ? html`<code>${entry.version}</code>` : nothing}
    ${entry.reason ? html`<span>${entry.reason}</span>` : nothing}
  </li>`;

const lastLoaded = (plugin) =>
  plugin.chronicle.filter(({ happened: what }) => what === 'loaded' || what === 'replaced').at(-1)?.at;

const one = (plugin) => html`
  <p class="back"><a href="#/plugins">${t('view_plugins')}</a></p>
  <h1>${plugin.name} ${badge(health(plugin), stateName(plugin))}</h1>
  ${notice('bad', failure)}
  ${plugin.reason ? notice(health(plugin), plugin.reason) : nothing}
  ${plugin.stale ? notice('warn', t('stale', { why: plugin.stale })) : nothing}
  <p class="actions">
    ${plugin.state === 'suspended' ? change(t('resume'), resume, 'strong') : nothing}
    <a class="button" href=${`#/trial${search({ plugin: plugin.name })}`}>${t('try_it')}</a>
    <a class="button" href=${`#/tail${search({ plugin: plugin.name })}`}>${t('tail_it')}</a>
    <a class="button" href=${`#/dead${search({ plugin: plugin.name })}`}>${t('view_dead')}</a>
  </p>
  ${plugin.state === 'suspended' ? howToChange() : nothing}
  <dl class="facts">
    ${fact(t('version'), html`<code>${plugin.version ?? '–'}</code>`)}
    ${fact(t('since'), when(lastLoaded(plugin)))}
    ${fact(t('events_per_second'), rate(rateOf(`in ${plugin.name}`)))}
    ${fact(t('backlog'), html`${number(plugin.backlog)}${left(plugin)}`, isBehind(plugin) ? 'late' : '')}
    ${fact(t('in_flight'), html`${number(plugin.in_flight)} <span class="quiet">${bytes(plugin.bytes_in_flight)}</span>`)}
    ${fact(t('p50'), duration(plugin.call_p50))}
    ${fact(t('p99'), duration(plugin.call_p99))}
    ${fact(t('memory'), bytes(plugin.memory))}
    ${fact(t('received'), number(plugin.received))}
    ${fact(t('published'), number(plugin.published))}
    ${fact(t('delayed'), number(plugin.delayed))}
    ${fact(t('dropped'), number(plugin.dropped))}
    ${fact(t('failures'), number(plugin.failures), plugin.failures ? 'late' : '')}
    ${fact(t('dead'), number(plugin.dead), plugin.dead ? 'late' : '')}
    ${fact(t('subscriptions'), html`${plugin.subscriptions.map((pattern) => html`<code>${pattern}</code> `)}`)}
    ${fact(t('file'), html`<code title=${plugin.path ?? ''}>${plugin.path?.split('/').at(-1) ?? '–'}</code>`)}
  </dl>
  ${plugin.last_error ? html`<h2>${t('last_error')}</h2><pre tabindex="0" aria-label=${t('last_error')}>${plugin.last_error}</pre>` : nothing}
  <h2>${t('history')}</h2>
  ${plugin.chronicle.length ? html`<ol class="history">${plugin.chronicle.toReversed().map(happened)}</ol>` : empty(t('no_history'))}
  <h2>${t('log')}</h2>
  ${logLines(plugin.log)}`;

export function view() {
  if (!about) return list();
  return shown ? one(shown) : html`<h1>${about}</h1>${failure ? notice('bad', failure) : empty(t('loading'))}`;
}

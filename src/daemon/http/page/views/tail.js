// Decisions as they are made: a sample, which says so.

import { search } from '../api.js';
import { redraw, state } from '../state.js';
import { badge, empty, html, json, notice, nothing, plain, when } from '../ui.js';
import { clock, number } from '../format.js';
import { t } from '../text.js';

/** How many decisions the page keeps. */
const KEPT = 200;
/** How often new ones are drawn at most, in milliseconds. */
const DRAW = 250;
const OUTCOMES = ['published', 'delayed', 'dropped', 'retry', 'dead'];
const KINDS = { published: 'good', delayed: 'good', dropped: 'idle', retry: 'warn', dead: 'bad' };

let query = {};
let source = null;
let decisions = [];
let counts = { matched: 0, shown: 0, missed: 0 };
let paused = false;
let failure = null;
let received = 0;
let isDrawing = false;
let opened = null;

export function enter(_, asked) {
  if (source && search(asked) === search(query)) return;
  query = asked;
  [decisions, opened] = [[], null];
  listen();
}

export function leave() {
  source?.close();
  source = null;
}

function listen() {
  source?.close();
  failure = null;
  const { plugin, topic, uuid, outcome } = query;
  source = new EventSource(`/api/tail${search({ plugin, topic, uuid, outcome })}`);
  source.addEventListener('decision', (event) => {
    // What is read must not move away.
    if (paused || opened !== null) return;
    received += 1;
    decisions = [{ ...JSON.parse(event.data), number: received }, ...decisions].slice(0, KEPT);
    redrawSoon();
  });
  source.addEventListener('counts', (event) => {
    counts = JSON.parse(event.data);
    failure = null;
    redraw();
  });
  source.addEventListener('error', () => {
    failure = t(source?.readyState === EventSource.CLOSED ? 'tail_refused' : 'disconnected');
    redraw();
  });
}

function redrawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  setTimeout(() => {
    isDrawing = false;
    redraw();
  }, DRAW);
}

function filter(event) {
  event.preventDefault();
  const to = `#/tail${search(Object.fromEntries(new FormData(event.target)))}`;
  if (location.hash === to) listen();
  else location.hash = to;
}

function pause() {
  paused = !paused;
  redraw();
}

/** What is shown as JSON Lines, oldest first, for `mo-router replay`. */
function save() {
  const lines = decisions.toReversed().map(({ event }) => event).filter(Boolean);
  const file = new Blob([lines.map((line) => `${line}\n`).join('')], { type: 'application/jsonl' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = 'events.jsonl';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function tryIt(decision) {
  sessionStorage.setItem('mo-router try', JSON.stringify({ events: decision.event, at: decision.at }));
  location.hash = `#/trial${search({ plugin: decision.plugin })}`;
}

const way = (decision) => html`
  <div class="way">
    <p>${t('way_in', { exchange: decision.exchange, key: decision.routing_key })}</p>
    ${decision.event ? html`<pre tabindex="0" aria-label=${t('event')}>${plain(decision.event)}</pre>` : empty(t('too_large'))}
    ${decision.reason ? notice(decision.outcome === 'dead' ? 'bad' : 'warn', decision.reason) : nothing}
    <ol>
      ${decision.messages.map((message) => html`
        <li>${badge('good', message.due ? t('delayed') : t('published'))}
          <code>${message.exchange} · ${message.routing_key}</code> ${message.due ? when(message.due) : nothing}
          ${json(message, t('message'))}</li>`)}
    </ol>
    ${decision.message_count > decision.messages.length ? notice('warn', t('left_out', { count: decision.message_count - decision.messages.length })) : nothing}
    <p class="actions">
      ${decision.event ? html`<button type="button" @click=${() => tryIt(decision)}>${t('try_it')}</button>` : nothing}
      ${decision.uuid ? html`<a class="button" href=${`#/tail${search({ uuid: decision.uuid })}`}>${t('only_person')}</a>
        <a class="button" href=${`#/delayed${search({ uuid: decision.uuid })}`}>${t('view_delayed')}</a>` : nothing}
    </p>
  </div>`;

function toggle(decision) {
  opened = opened === decision.number ? null : decision.number;
  redraw();
}

const line = (decision) => html`
  <li class="decision">
    <button type="button" class="summary" aria-expanded=${opened === decision.number} @click=${() => toggle(decision)}>
      <time datetime=${decision.at}>${clock(new Date(decision.at))}</time>
      ${badge(KINDS[decision.outcome], t(decision.outcome))}
      <span class="who">${decision.plugin}</span>
      <code>${decision.routing_key}</code>
      <code class="uuid">${decision.uuid ?? ''}</code>
      <span class="quiet">${decision.reason ?? (decision.message_count > 1 ? t('messages', { count: decision.message_count }) : '')}</span>
    </button>
    ${opened === decision.number ? way(decision) : nothing}
  </li>`;

const sampled = () => {
  const skipped = counts.matched - counts.shown - counts.missed;
  if (counts.missed) return t('sampled_slow', { shown: number(counts.shown), matched: number(counts.matched), missed: number(counts.missed) });
  if (skipped) return t('sampled', { shown: number(counts.shown), matched: number(counts.matched) });
  return t('all_shown', { count: number(counts.shown) });
};

export const view = () => html`
  <h1>${t('view_tail')}</h1>
  ${notice('bad', failure)}
  <form class="search" role="search" @submit=${filter}>
    <label>${t('topic')}<input name="topic" .value=${query.topic ?? ''} placeholder="employee.#" spellcheck="false"></label>
    <label>${t('person')}<input name="uuid" .value=${query.uuid ?? ''} spellcheck="false"></label>
    <label>${t('plugin')}
      <select name="plugin">
        <option value="">${t('all')}</option>
        ${state.router.plugins.map((plugin) => html`<option value=${plugin.name} ?selected=${plugin.name === query.plugin}>${plugin.name}</option>`)}
      </select></label>
    <label>${t('outcome')}
      <select name="outcome">
        <option value="">${t('all')}</option>
        ${OUTCOMES.map((outcome) => html`<option value=${outcome} ?selected=${outcome === query.outcome}>${t(outcome)}</option>`)}
      </select></label>
    <button type="submit" class="strong">${t('filter')}</button>
    <button type="button" aria-pressed=${paused} @click=${pause}>${paused ? t('go_on') : t('pause')}</button>
    <button type="button" ?disabled=${decisions.length === 0} @click=${save}>${t('save')}</button>
  </form>
  <p class="quiet">${sampled()}${opened === null ? nothing : html` <b>${t('held')}</b>`}</p>
  ${decisions.length === 0 ? empty(t('no_decisions')) : html`<ol class="decisions" aria-label=${t('view_tail')}>${decisions.map(line)}</ol>`}`;

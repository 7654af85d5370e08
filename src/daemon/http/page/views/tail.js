// Decisions as they are made: a sample, which says so.

import { search } from '../api.js';
import { redraw, redrawLater, state } from '../state.js';
import { follow, followNothing } from '../stream.js';
import { parse } from '../exact.js';
import { repeat } from '../html.js';
import { aim, badge, empty, fill, html, json, notice, nothing, options, when } from '../ui.js';
import { clock, number } from '../format.js';
import { t } from '../text.js';

/** How many decisions the page keeps. */
const KEPT = 200;
const OUTCOMES = ['published', 'delayed', 'dropped', 'retry', 'dead'];
const KINDS = { published: 'good', delayed: 'good', dropped: 'idle', retry: 'warn', dead: 'bad' };

let query = {};
let isFollowing = false;
/** Those that are shown, and those that came while the list stands still; the newest first. */
let decisions = [];
let waiting = [];
let counts = null;
/** Since when the router tells its decisions: none while there is no connection. */
let since = null;
let paused = false;
/** What was saved. */
let saved = null;
const aimed = aim(changed);
let failure = null;
let received = 0;
let opened = null;

export function enter(_, asked) {
  if (isFollowing && search(asked) === search(query)) return;
  query = asked;
  [decisions, waiting, opened, saved] = [[], [], null, null];
  aimed.forget();
  fill(document.querySelector('form.search'), query);
  listen();
}

export function leave() {
  isFollowing = false;
  followNothing();
}

function listen() {
  isFollowing = true;
  const { plugin, topic, uuid, outcome } = query;
  follow(`/api/tail${search({ plugin, topic, uuid, outcome, overview: true })}`, { decision: take, counts: count }, begun, lost);
}

/** A connection that is new counts from 0. */
function begun() {
  since = new Date();
  counts = { matched: 0, shown: 0, missed: 0 };
  redraw();
}

/** What is read, or aimed at, must not move away. */
const isStill = () => paused || opened !== null || (decisions.length > 0 && aimed.isOn());

function take(decision) {
  received += 1;
  put([{ ...decision, number: received }], isStill() ? waiting : decisions);
  redrawLater();
}

/** Puts the newest ones before others. */
function put(newest, list) {
  list.unshift(...newest);
  list.length = Math.min(list.length, KEPT);
}

function showWaiting() {
  put(waiting, decisions);
  waiting = [];
  if (!decisions.some(({ number: one }) => one === opened)) opened = null;
}

/** Something has changed that the list may have stood still for. */
function changed() {
  if (!isStill()) showWaiting();
  redraw();
}

function count(told) {
  [counts, failure] = [told, null];
  redrawLater();
}

function lost(isRefused) {
  // That the router does not answer is said above all views.
  failure = isRefused ? t('tail_refused') : null;
  since = null;
  redraw();
}

function filter(event) {
  event.preventDefault();
  const to = `#/tail${search(Object.fromEntries(new FormData(event.target)))}`;
  if (location.hash === to) listen();
  else location.hash = to;
}

function pause() {
  paused = !paused;
  changed();
}

function showNew() {
  showWaiting();
  redraw();
}

/** The events of decisions, each once, oldest first: several plugins decide on one, and one of them may
    do so again. Equal ones of which a plugin got several are several. */
function eventsOf(list) {
  const times = new Map();
  const count = (key) => times.set(key, (times.get(key) ?? 0) + 1).get(key);
  const events = [];
  for (const { event, plugin, attempt } of list) {
    const { received, ...rest } = parse(event);
    const what = JSON.stringify(rest);
    if (count(JSON.stringify([what, plugin, attempt])) <= (times.get(what) ?? 0)) continue;
    count(what);
    events.push(event);
  }
  return events;
}

/** The events of what is shown as JSON Lines, for `mo-router replay`. A publication is no event. */
function save() {
  const list = decisions.filter(({ kind }) => kind !== 'publication').toReversed();
  const lines = eventsOf(list.filter(({ event }) => event));
  const large = list.filter(({ event }) => !event).length;
  saved = t('saved', { count: lines.length });
  if (large) saved += ` ${t('saved_without', { count: large })}`;
  redraw();
  const file = new Blob([lines.map((line) => `${line}\n`).join('')], { type: 'application/jsonl' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = 'events.jsonl';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function tryIt(decision) {
  state.handed = { events: decision.event, at: decision.at };
  location.hash = `#/trial${search({ plugin: decision.plugin })}`;
}

const way = (decision) => html`
  <div class="way">
    <p>${t(decision.kind === 'publication' ? 'way_publication' : 'way_in', { exchange: decision.exchange, key: decision.routing_key })}</p>
    ${decision.event ? html`<pre tabindex="0" aria-label=${t('event')}>${decision.event}</pre>`
      : decision.messages.length === 0 ? empty(t('too_large')) : nothing}
    ${decision.reason ? notice(decision.outcome === 'dead' ? 'bad' : 'warn', decision.reason) : nothing}
    <ol>
      ${decision.messages.map((message) => html`
        <li>${decision.kind === 'publication' ? badge('bad', t('dead')) : badge('good', message.due ? t('delayed') : t('published'))}
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
  changed();
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
  if (since === null) return t('not_told');
  const skipped = counts.matched - counts.shown - counts.missed;
  const values = { shown: number(counts.shown), matched: number(counts.matched), missed: number(counts.missed), time: clock(since) };
  if (counts.missed) return t('sampled_slow', values);
  return t(skipped ? 'sampled' : 'all_shown', values);
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
        ${options(state.router.plugins.map(({ name }) => name), query.plugin)}
      </select></label>
    <label>${t('outcome')}
      <select name="outcome">
        <option value="">${t('all')}</option>
        ${options(OUTCOMES, query.outcome, t)}
      </select></label>
    <button type="submit" class="strong">${t('filter')}</button>
    <button type="button" aria-pressed=${paused} @click=${pause}>${paused ? t('go_on') : t('pause')}</button>
    <button type="button" class="new" ?disabled=${waiting.length === 0} @click=${showNew}>${t('new_ones', { count: waiting.length })}</button>
    <button type="button" ?disabled=${decisions.length === 0} @click=${save}>${t('save')}</button>
  </form>
  ${notice('good', saved)}
  <p class="quiet">${sampled()}${decisions.length < KEPT ? nothing : html` ${t('kept', { count: KEPT })}`}${
    opened === null ? nothing : html` <b>${t('held')}</b>`}</p>
  ${decisions.length === 0 ? empty(t('no_decisions')) : html`
    <ol class="decisions" aria-label=${t('view_tail')} @pointerenter=${aimed.point} @pointerleave=${aimed.point} @focusin=${aimed.focus} @focusout=${aimed.focus}>
      ${repeat(decisions, ({ number: one }) => one, line)}
    </ol>`}`;

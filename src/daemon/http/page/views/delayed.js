// Delayed messages: when they are due, lists of them, and one of them.

import { get, post, search, session } from '../api.js';
import { place, redraw, state } from '../state.js';
import { body, change, confirm, dialog, empty, fact, fill, howToChange, html, json, notice, nothing, table, when } from '../ui.js';
import { bars } from '../charts.js';
import { clock, day, number } from '../format.js';
import { t } from '../text.js';

const PAGE = 50;
const SCALES = ['hour', 'day', 'month', 'years'];

let about = null;
let query = {};
let timeline = null;
let list = null;
let message = null;
/** Why it could not be read. */
let failure = null;
/** What became of a change: `{kind, text}`. */
let told = null;
let open = null;
const chosen = new Set();
const here = place();

export function enter(id, asked) {
  const isSearch = search(asked) !== search(query);
  if (isSearch) {
    [timeline, list, open] = [null, null, null];
    fill(document.querySelector('form.search'), asked);
  }
  if (isSearch || id !== about) {
    here.move();
    if (told?.kind === 'bad') told = null;
  }
  [about, query] = [id, asked];
  message = null;
  chosen.clear();
  load();
}

export function leave() {
  told = null;
}

/** Reads again what could not be read. */
export function again() {
  if (failure !== null || (about ? message : list && timeline) === null) load();
}

const filter = () => ({ plugin: query.plugin, uuid: query.uuid, key: query.key });

async function load() {
  failure = null;
  if (about) await loadOne();
  else await Promise.all([loadList(), loadTimeline()]);
}

/** Asks for something, and shows it as soon as it comes, if that is what is still looked at. */
async function ask(path, asked, show, isWanted = () => true) {
  const stays = here.stays();
  let answer = null;
  let why = null;
  try {
    answer = await get(path, asked);
  } catch (error) {
    why = error.message;
  }
  if (!stays() || !isWanted()) return;
  if (why === null) show(answer);
  else failure = why;
  redraw();
}

const loadOne = () => ask(`/api/delayed/message/${encodeURIComponent(about)}`, {}, (answer) => { message = answer; });

const loadTimeline = () => ask('/api/delayed/timeline', filter(), (answer) => { timeline = answer; });

/** What a page of the list is asked for by. */
const page = (more) => ({ ...filter(), limit: PAGE, from: open?.from, until: open?.until, ...more });

function loadList() {
  const bar = open;
  return ask('/api/delayed', page(), (answer) => { list = answer; }, () => open === bar);
}

function more() {
  const before = list;
  return ask('/api/delayed', page({ after: list.messages.at(-1).id }), (next) => {
    list = { messages: [...list.messages, ...next.messages], more: next.more };
  }, () => list === before);
}

/** Whether a bar is the one that is open. They begin now, and have moved on when they are counted again. */
function isOpen(bar) {
  if (bar.scale !== open?.scale) return false;
  const middle = (Date.parse(open.from) + Date.parse(open.until)) / 2;
  return Date.parse(bar.from) <= middle && middle < Date.parse(bar.until);
}

function look(bar) {
  open = isOpen(bar) ? null : bar;
  [list, failure] = [null, null];
  chosen.clear();
  redraw();
  loadList();
}

function find(event) {
  event.preventDefault();
  const form = Object.fromEntries(new FormData(event.target));
  const to = `#/delayed${search(form)}`;
  if (location.hash === to) load();
  else location.hash = to;
}

async function act(what, ids, more) {
  const stays = here.stays();
  try {
    const { changed, missing, in_flight: flying } = await post(`/api/delayed/${what}`, { ids, ...more });
    const text = [t('changed', { count: changed.length }),
      missing.length ? t('missing', { count: missing.length }) : '',
      flying.length ? t('being_sent', { count: flying.length }) : ''].filter(Boolean).join(' ');
    told = { kind: 'good', text };
    // Something else may be looked at by now.
    if (stays()) chosen.clear();
    if (stays() && about && what !== 'reschedule') location.hash = '#/delayed';
    else await load();
  } catch (error) {
    const failed = { of: ids.length > 20 ? `${ids.slice(0, 20).join(', ')}, …` : ids.join(', '), why: error.message };
    told = { kind: 'bad', text: stays() ? error.message : t('failed_before', failed) };
    redraw();
  }
}

const cancel = async (ids) => {
  if (await confirm(t('cancel_sure', { count: ids.length }), t('cancel_message'))) act('cancel', ids);
};
const sendNow = async (ids) => {
  if (await confirm(t('send_now_sure', { count: ids.length }), t('send_now'))) act('send-now', ids);
};

/** A time as the browser's field for one has it: in the reader's zone, without an offset. */
const field = (date) => `${day(date)}T${clock(date)}`;

async function reschedule(ids, due) {
  const to = await dialog(t('reschedule'), (close) => html`
    <form @submit=${(event) => { event.preventDefault(); close(new FormData(event.target).get('due')); }}>
      <h2 id="dialog-title">${t('reschedule_to', { count: ids.length })}</h2>
      <label>${t('new_time')}<input type="datetime-local" step="1" name="due" required value=${field(new Date(due ?? Date.now()))}></label>
      <div class="actions">
        <button type="button" @click=${() => close(false)}>${t('cancel')}</button>
        <button type="submit" class="strong">${t('reschedule')}</button>
      </div>
    </form>`);
  if (to) act('reschedule', ids, { due: new Date(to).toISOString() });
}

const actions = (ids, due) => html`
  ${change(t('send_now'), () => sendNow(ids))}
  ${change(t('reschedule'), () => reschedule(ids, due))}
  ${change(t('cancel_message'), () => cancel(ids), 'danger')}`;

function named(bar) {
  const [from, until] = [new Date(bar.from), new Date(bar.until)];
  const short = { hour: (date) => clock(date).slice(0, 5), day: (date) => clock(date).slice(0, 5) }[bar.scale] ?? day;
  return { ...bar, start: short(from), end: short(until), label: `${day(from)} ${clock(from).slice(0, 5)} – ${day(until)} ${clock(until).slice(0, 5)}` };
}

const times = () => SCALES.map((scale) => {
  const ofScale = (timeline?.bars ?? []).filter((bar) => bar.scale === scale).map(named);
  return bars(t(`scale_${scale}`), ofScale, ofScale.find(isOpen), look);
});

function toggle(id) {
  if (!chosen.delete(id)) chosen.add(id);
  redraw();
}

const row = (one) => html`
  <tr>
    ${session.unlocked ? html`<td><input type="checkbox" .checked=${chosen.has(one.id)} aria-label=${t('choose', { id: one.id })} @change=${() => toggle(one.id)}></td>` : nothing}
    <th scope="row"><a href=${`#/delayed/${one.id}`}>${one.id}</a></th>
    <td>${when(one.due)}</td>
    <td>${one.plugin}</td>
    <td><code>${one.exchange} · ${one.routing_key}</code></td>
    <td><a href=${`#/delayed${search({ uuid: one.uuid })}`}><code>${one.uuid}</code></a></td>
    <td>${one.key ?? ''}</td>
    <td class=${one.problem ? 'reason' : ''}>${one.problem ?? ''}</td>
  </tr>`;

const all = () => html`
  <h1>${t('view_delayed')}</h1>
  ${notice('bad', failure)}${told ? notice(told.kind, told.text) : nothing}
  <form class="search" role="search" @submit=${find}>
    <label>${t('person')}<input name="uuid" .value=${query.uuid ?? ''} spellcheck="false" placeholder="00000000-0000-…"></label>
    <label>${t('plugin')}<input name="plugin" .value=${query.plugin ?? ''} list="plugin-names"></label>
    <label>${t('key')}<input name="key" .value=${query.key ?? ''}></label>
    <datalist id="plugin-names">${state.router.plugins.map((plugin) => html`<option value=${plugin.name}></option>`)}</datalist>
    <button type="submit" class="strong">${t('search')}</button>
  </form>
  ${timeline === null ? html`<p>${t('loading')}</p>` : html`
    <p><strong>${t('delayed_total', { count: number(timeline.total) })}</strong>
      ${timeline.next ? html` · ${t('next_is')} ${when(timeline.next)}` : nothing}
      ${timeline.overdue ? html` · <span class="late">${t('overdue_count', { count: number(timeline.overdue) })}</span>` : nothing}
      ${timeline.later ? html` · ${t('after_all', { count: number(timeline.later) })}` : nothing}</p>`}
  <div class="timeline" aria-busy=${timeline === null}>${times()}</div>
  <h2>${open ? named(open).label : t('next_ones')}
    ${open ? html`<button type="button" @click=${() => look(open)}>${t('show_all')}</button>` : nothing}</h2>
  ${list === null ? (failure ? nothing : empty(t('loading'))) : html`
    ${howToChange()}
    ${chosen.size ? html`<p class="actions" role="group" aria-label=${t('actions')}>${t('chosen', { count: chosen.size })} ${actions([...chosen])}</p>` : nothing}
    ${list.messages.length === 0 ? empty(t('none_waiting'))
      : table(t('view_delayed'), [...(session.unlocked ? [t('choice')] : []), t('id'), t('due'), t('plugin'), t('where_to'), t('person'), t('key'), t('problem')], list.messages.map(row))}
    ${list.more ? html`<p class="actions"><button type="button" @click=${more}>${t('more')}</button></p>` : nothing}`}`;

const one = () => html`
  <p class="back"><a href="#/delayed">${t('view_delayed')}</a></p>
  <h1>${t('delayed_message')} ${about}</h1>
  ${notice('bad', failure)}${told ? notice(told.kind, told.text) : nothing}
  ${message === null ? (failure ? nothing : empty(t('loading'))) : html`
    <p class="actions">${actions([message.id], message.due)}</p>
    ${howToChange()}
    ${message.problem ? notice('warn', message.problem) : nothing}
    <dl class="facts">
      ${fact(t('due'), when(message.due))}
      ${fact(t('plugin'), message.plugin)}
      ${fact(t('version'), html`<code>${message.version}</code>`)}
      ${fact(t('exchange'), message.exchange)}
      ${fact(t('routing_key'), html`<code>${message.routing_key}</code>`)}
      ${fact(t('person'), html`<a href=${`#/delayed${search({ uuid: message.uuid })}`}><code>${message.uuid}</code></a>`)}
      ${fact(t('key'), message.key ?? '–')}
      ${fact(t('attempts'), number(message.attempts))}
      ${fact('message_id', html`<code>${message.message_id}</code>`)}
    </dl>
    <h2>${t('body')}</h2>
    ${body(message.body_base64)}
    <h2>${t('properties')}</h2>
    ${json(message.properties, t('properties'))}`}`;

export const view = () => (about ? one() : all());

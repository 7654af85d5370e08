// Dead letters: in groups, as a list, and one of them.

import { get, post, search, session } from '../api.js';
import { place, redraw, state } from '../state.js';
import { repeat } from '../html.js';
import { aim, badge, body, change, confirm, empty, fact, howToChange, html, json, notice, nothing, table, trial, when } from '../ui.js';
import { spark } from '../charts.js';
import { number } from '../format.js';
import { t } from '../text.js';

const PAGE = 50;
/** How often a changed number of letters has them read again at most, in milliseconds. */
const AGAIN = 5000;

let about = null;
let query = {};
let groups = null;
let list = null;
let letter = null;
let tried = null;
/** Why it could not be read or tried. */
let failure = null;
/** What became of a change: `{kind, text}`. */
let told = null;
let busy = false;
let seen = null;
let loadedAt = 0;
const here = place();
/** Rows stand still while somebody aims at one. */
const aimed = aim(redraw);

export function enter(id, asked) {
  const moved = id !== about || search(asked) !== search(query);
  [about, query] = [id, asked];
  if (moved) {
    here.move();
    aimed.forget();
    [letter, tried, list, failure, busy] = [null, null, null, null, false];
    if (told?.kind === 'bad') told = null;
  }
  load();
}

export function leave() {
  told = null;
}

/** Reads again what could not be read. */
export function again() {
  if (!busy && (failure !== null || (about ? letter : isList() ? list : groups) === null)) load();
}

const isList = () => query.plugin !== undefined;

async function load(byItself = false) {
  const stays = here.stays();
  busy = true;
  redraw();
  try {
    let loaded;
    if (about) loaded = await get(`/api/dead/letter/${encodeURIComponent(about)}`);
    else if (isList()) loaded = await get('/api/dead', { ...query, limit: PAGE });
    else loaded = await get('/api/dead/groups');
    if (!stays() || (byItself && aimed.isOn())) return;
    seen = state.router?.dead_letters;
    if (about) letter = loaded;
    else if (isList()) list = loaded;
    else groups = loaded;
    // What somebody aimed at is gone, which no event says.
    if ((loaded.letters ?? loaded).length === 0) aimed.forget();
    failure = null;
  } catch (error) {
    if (!stays()) return;
    failure = error.message;
    seen = state.router?.dead_letters;
  } finally {
    if (stays()) {
      busy = false;
      loadedAt = Date.now();
      redraw();
    }
  }
}

/** Reads again when there are more or fewer, but not all the time. */
function follow() {
  const { dead_letters: now } = state.router;
  if (!about && !busy && !aimed.isOn() && now !== seen && Date.now() - loadedAt > AGAIN) load(true);
}

/** Sends back or discards what is chosen, if that is wanted: `text` asks, and `which` says what it is. */
async function act(what, chosen, text, which) {
  const stays = here.stays();
  const to = html`<dl class="facts">${Object.entries(which).map(([name, value]) => fact(t(name), value))}</dl>`;
  if (!(await confirm(text, t(what), to))) return;
  if (stays()) busy = true;
  redraw();
  try {
    const result = await post(`/api/dead/${what}`, chosen);
    const reasons = (result.reasons ?? []).map(({ reason, count }) => `${count}: ${reason}`).join('; ');
    const text = what === 'discard' ? t('discarded', { count: result.discarded })
      : result.failed ? t('sent_back_some', { count: result.sent_back, failed: result.failed, reasons })
        : t('sent_back', { count: result.sent_back });
    told = { kind: 'good', text };
    // Something else may be looked at by now.
    if (about && stays()) location.hash = '#/dead';
    else await load();
  } catch (error) {
    const failed = { of: Object.values(which).join(' · '), why: error.message };
    told = { kind: 'bad', text: stays() ? error.message : t('failed_before', failed) };
  } finally {
    if (stays()) busy = false;
    redraw();
  }
}

async function tryAgain() {
  const stays = here.stays();
  busy = true;
  redraw();
  try {
    const result = await post(`/api/dead/letter/${encodeURIComponent(about)}/try`);
    if (stays()) [tried, failure] = [result, null];
  } catch (error) {
    if (stays()) failure = error.message;
  } finally {
    if (stays()) busy = false;
    redraw();
  }
}

const open = ({ plugin, reason, alike }) => `#/dead${search({ plugin, exactly: reason, alike: alike || null })}`;
const isRest = ({ plugin }) => plugin === '';

const both = (chosen, values, which) => html`
  ${change(t('requeue'), () => act('requeue', chosen, t('requeue_sure', values), which))}
  ${change(t('discard'), () => act('discard', chosen, t('discard_sure', values), which), 'danger')}`;

/** A reason, and whether those are meant, too, that are like it. */
const words = ({ reason, alike }) => `${reason || t('no_reason')}${alike ? ` ${t('alike')}` : ''}`;

const bothOf = ({ plugin, reason, alike }, values) =>
  both({ group: { plugin, reason, alike } }, values, { plugin, reason: words({ reason, alike }) });

const still = (rows) => html`
  <div @pointerenter=${aimed.point} @pointerleave=${aimed.point} @focusin=${aimed.focus} @focusout=${aimed.focus}>${rows}</div>`;

const group = (one) => html`
  <tr>
    <td class="number"><strong>${number(one.count)}</strong></td>
    <th scope="row">${one.plugin || '–'}</th>
    <td class="reason">${isRest(one) ? one.reason : html`<a href=${open(one)}>${words(one)}</a>`}</td>
    <td>${spark(one.hours, t('last_day', { count: number(one.hours.reduce((sum, count) => sum + count, 0)) }))}</td>
    <td>${when(one.first)}</td>
    <td>${when(one.last)}</td>
    ${session.unlocked ? html`<td class="actions">${isRest(one) ? nothing
      : bothOf(one, { count: number(one.count) })}</td>` : nothing}
  </tr>`;

const heading = () => html`
  <h1>${t('view_dead')}</h1>
  ${notice('bad', failure)}${told ? notice(told.kind, told.text) : nothing}`;

const readAgain = () => html`<button type="button" ?disabled=${busy} @click=${() => load()}>${t('read_again')}</button>`;

const grouped = () => html`
  ${heading()}
  <p class="quiet">${t('dead_what')}</p>
  <p class="actions">${readAgain()}</p>
  ${howToChange()}
  ${groups === null ? (failure ? nothing : empty(t('loading')))
    : groups.length === 0 ? empty(t('no_dead'))
      : still(table(t('dead_groups'), [t('count'), t('plugin'), t('reason'), t('last_24'), t('first'), t('last'), ...(session.unlocked ? [t('actions')] : [])],
        repeat(groups, ({ plugin, reason }) => JSON.stringify([plugin, reason]), group)))}`;

const row = (one) => html`
  <tr>
    <th scope="row"><a href=${`#/dead/${one.id}`}><code>${one.id}</code></a></th>
    <td>${when(one.since)}</td>
    <td>${one.plugin}</td>
    <td><code>${one.routing_key}</code></td>
    <td class="number">${number(one.attempts)}</td>
    <td class="reason">${one.reason}</td>
  </tr>`;

function listed() {
  const skip = Number(query.skip ?? 0);
  const asked = { plugin: query.plugin, reason: query.exactly, alike: query.alike === 'true' };
  const page = (to) => `#/dead${search({ ...query, skip: to || null })}`;
  return html`
    <p class="back"><a href="#/dead">${t('dead_groups')}</a></p>
    ${heading()}
    <p>${t('plugin')}: <strong>${query.plugin}</strong>${query.exactly ? html` · ${t('reason')}: <strong>${words(asked)}</strong>` : nothing}</p>
    <p class="actions">${readAgain()}${query.exactly
      ? bothOf(asked, { count: t('all_of_group') }) : nothing}</p>
    ${howToChange()}
    ${list === null ? (failure ? nothing : empty(t('loading')))
      : list.letters.length === 0 ? empty(t('no_dead'))
        : still(table(t('view_dead'), [t('id'), t('since'), t('plugin'), t('routing_key'), t('attempts'), t('reason')], list.letters.map(row)))}
    <p class="actions">
      ${skip > 0 ? html`<a class="button" href=${page(Math.max(0, skip - PAGE))}>${t('previous')}</a>` : nothing}
      ${list?.more ? html`<a class="button" href=${page(skip + PAGE)}>${t('next')}</a>` : nothing}
    </p>`;
}

const one = () => html`
  <p class="back"><a href="#/dead">${t('dead_groups')}</a></p>
  <h1>${t('dead_letter')} <code>${about}</code></h1>
  ${notice('bad', failure)}${told?.kind === 'bad' ? notice('bad', told.text) : nothing}
  ${letter === null ? (failure ? nothing : empty(t('loading'))) : html`
    <p class="cause">${badge('bad', t(`kind_${letter.kind}`))} ${letter.reason || t('no_reason')}</p>
    <p class="actions">
      <button type="button" ?disabled=${busy || !letter.is_event} @click=${tryAgain}>${t('dry_run')}</button>
      ${both({ ids: [letter.id] }, { count: 1 }, { id: letter.id, plugin: letter.plugin, reason: letter.reason || t('no_reason') })}
    </p>
    ${letter.is_event ? nothing : html`<p class="quiet">${t('not_tried')}</p>`}
    ${howToChange()}
    ${tried ? trial(tried) : nothing}
    <dl class="facts">
      ${fact(t('plugin'), html`<a href=${`#/plugins/${encodeURIComponent(letter.plugin)}`}>${letter.plugin}</a>`)}
      ${fact(t('version'), html`<code>${letter.version || '–'}</code>`)}
      ${fact(t('since'), when(letter.since))}
      ${fact(t('attempts'), number(letter.attempts))}
      ${fact(t('exchange'), letter.exchange)}
      ${fact(t('routing_key'), html`<code>${letter.routing_key}</code>`)}
      ${fact(t('queue'), letter.queue ?? '–')}
    </dl>
    <h2>${t('body')}</h2>
    ${body(letter.body_base64)}
    <h2>${t('properties')}</h2>
    ${json(letter.properties, t('properties'))}`}`;

export function view() {
  follow();
  if (about) return one();
  return isList() ? listed() : grouped();
}

// An event through a plugin, with a virtual clock. Nothing leaves.

import { post, session } from '../api.js';
import { place, redraw, state } from '../state.js';
import { empty, html, notice, nothing, options, trial } from '../ui.js';
import { bytes } from '../format.js';
import { t } from '../text.js';

const EXAMPLE = JSON.stringify({
  routing_key: 'employee.engagement.create',
  body: {
    uuid: 'cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60',
    object_uuid: '1f1a3f0c-6a2a-4a0e-9d8e-2b8a6e0c1d2e',
    time: '2027-01-01T00:00:00+01:00',
  },
}, null, 2);

let plugin = null;
let events = EXAMPLE;
let at = '';
let file = null;
let result = null;
let failure = null;
let busy = false;
let hovering = false;
const here = place();
/** A file may be dropped anywhere: a browser would open it instead of the page. */
const DROPS = { drop, dragover: over, dragleave: over };

export function enter(_, query) {
  if (state.handed) ({ events, at } = state.handed);
  state.handed = null;
  if (query.plugin) {
    [plugin, file] = [query.plugin, null];
    const select = document.querySelector('.trial-form select');
    if (select) select.value = plugin;
  }
  here.move();
  [result, failure, busy] = [null, null, false];
  for (const [kind, act] of Object.entries(DROPS)) document.addEventListener(kind, act);
}

export function leave() {
  for (const [kind, act] of Object.entries(DROPS)) document.removeEventListener(kind, act);
}

async function run(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  [events, at] = [form.get('events'), form.get('at').trim()];
  plugin = form.get('plugin') ?? plugin;
  [busy, failure, result] = [true, null, null];
  const stays = here.stays();
  redraw();
  // Several lines, or one event over several.
  const lines = oneLine(events);
  try {
    const answer = file
      ? await post('/api/try/file', new Blob([`${JSON.stringify({ name: name(file), events: lines, at: at || null })}\n`, file]))
      : await post('/api/try', { plugin, events: lines, at: at || null });
    if (stays()) result = answer;
  } catch (error) {
    if (stays()) failure = error.message;
  }
  if (!stays()) return;
  busy = false;
  redraw();
}

/** An event that is written over several lines, on one. */
function oneLine(text) {
  try {
    return JSON.stringify(JSON.parse(text)) && text.replace(/\r?\n\s*/g, ' ');
  } catch {
    return text;
  }
}

const name = (dropped) => dropped.name.replace(/\.(wasm|wat)$/, '');

function take(taken) {
  if (!taken) return;
  if (!session.unlocked) failure = session.possible ? t('locked') : t('read_only');
  else [file, failure] = [taken, null];
  redraw();
}

const hasFile = (event) => event.dataTransfer?.types.includes('Files');

function drop(event) {
  if (!hasFile(event)) return;
  event.preventDefault();
  hovering = false;
  take(event.dataTransfer.files[0]);
}

function over(event) {
  if (!hasFile(event)) return;
  event.preventDefault();
  const was = hovering;
  hovering = event.type === 'dragover';
  if (hovering !== was) redraw();
}

function forget() {
  file = null;
  redraw();
}

export const view = () => html`
  <h1>${t('view_trial')}</h1>
  <p>${t('try_what')}</p>
  <form class="trial-form" @submit=${run}>
    <div class="drop ${hovering ? 'hovering' : ''}">
      ${file ? html`<p>${t('file')}: <strong>${file.name}</strong> <span class="quiet">${bytes(file.size)}</span>
          <button type="button" @click=${forget}>${t('forget')}</button></p>`
        : html`<label>${t('plugin')}
            <select name="plugin">
              ${options(state.router.plugins.map((one) => one.name), plugin)}
            </select></label>
          <label class="upload">${t('or_file')}
            <input type="file" accept=".wasm,.wat" @change=${(event) => take(event.target.files[0])}></label>`}
    </div>
    <label>${t('events')}<textarea name="events" rows="9" spellcheck="false" .value=${events}></textarea></label>
    <label>${t('virtual_time')}<input name="at" .value=${at ?? ''} placeholder=${t('now')} spellcheck="false"></label>
    <p class="actions"><button type="submit" class="strong" ?disabled=${busy || (!file && state.router.plugins.length === 0)}>${busy ? t('running') : t('run')}</button></p>
  </form>
  ${notice('bad', failure)}
  ${result ? trial(result) : busy ? empty(t('running')) : nothing}`;

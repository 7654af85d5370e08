// Pieces that several views are made of.

import { html, nothing, render, repeat } from './html.js';
import { session } from './api.js';
import { indented } from './exact.js';
import { redraw } from './state.js';
import { bytes, distance, time } from './format.js';
import { t } from './text.js';

export { html, nothing };

/** A time with its distance from now. */
export const when = (text) =>
  text == null
    ? html`<span class="none">–</span>`
    : html`<time datetime=${text} title=${distance(text)}>${time(text)}</time>`;

export const badge = (kind, text) => html`<span class="badge ${kind}">${text}</span>`;

/** A fact: its name and its value. */
export const fact = (name, value, kind = '') =>
  html`<div class="fact ${kind}"><dt>${name}</dt><dd>${value}</dd></div>`;

export const notice = (kind, text) =>
  text ? html`<p class="notice ${kind}" role=${kind === 'bad' ? 'alert' : 'status'}>${text}</p>` : nothing;

export const empty = (text) => html`<p class="empty">${text}</p>`;

/** A table that scrolls by itself where the window is narrow. */
export const table = (label, heads, rows) => html`
  <div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table>
      <caption class="unseen">${label}</caption>
      <thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${rows}</tbody>
    </table>
  </div>`;

/** A button for what changes something: there only for who may. */
export const change = (text, act, kind = '') =>
  session.unlocked
    ? html`<button type="button" class=${kind} @click=${act}>${text}</button>`
    : nothing;

/** What to do to change something, for who may not. */
export const howToChange = () =>
  session.unlocked
    ? nothing
    // An empty line where that is not known yet, so that nothing moves.
    : html`<p class="quiet">${!session.known ? '\u00a0' : session.possible ? t('locked') : t('read_only')}</p>`;

// ── Fields and rows that stay what they are ──

/** What can be chosen, by name, so that a choice stays the same one when there are more or fewer. What is
    chosen can be chosen, whether or not there is such a thing. */
export const options = (names, chosen, write = (name) => name) =>
  repeat(new Set(chosen ? [...names, chosen] : names), (name) => name, (name) => html`
    <option value=${name} ?selected=${name === chosen}>${write(name)}</option>`);

/** Has the fields of a form that is shown hold these values, whatever was typed into them. */
export function fill(form, values) {
  for (const field of form?.elements ?? []) {
    if (field.name) field.value = values[field.name] ?? '';
  }
}

/** Tells whether somebody points at something, or has come to it by key: what is aimed at must not move
    away. `changed` is called when that begins and when it ends. */
export function aim(changed) {
  let [pointed, focused] = [false, false];
  return {
    isOn: () => pointed || focused,
    forget() { [pointed, focused] = [false, false]; },
    point(event) {
      pointed = event.type === 'pointerenter';
      changed();
    },
    focus(event) {
      // From one to another nothing changes.
      if (event.type === 'focusout' && event.currentTarget.contains(event.relatedTarget)) return;
      focused = event.type === 'focusin' && event.target.matches(':focus-visible');
      changed();
    },
  };
}

// ── A body, as text, JSON or hexadecimal ──

const MOST = 64 * 1024;

function decode(base64) {
  const text = atob(base64);
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function asJson(text) {
  try {
    return indented(text);
  } catch {
    return null;
  }
}

function asHex(content) {
  const lines = [];
  for (let at = 0; at < content.length; at += 16) {
    const row = content.subarray(at, at + 16);
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const plain = Array.from(row, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.'));
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${plain.join('')}`);
  }
  return lines.join('\n');
}

let form = null;

/** A body in the form that the reader has chosen, or the most readable one. */
export function body(base64) {
  const length = (base64.length / 4) * 3 - base64.match(/=*$/)[0].length;
  // Of a large one no more than is shown. The cut may be within a character.
  const shown = decode(base64.slice(0, Math.ceil(MOST / 3) * 4)).subarray(0, MOST);
  const text = new TextDecoder().decode(shown, { stream: length > MOST });
  const json = asJson(text);
  const chosen = form ?? (json ? 'json' : text.includes('\ufffd') ? 'hex' : 'text');
  const written = { text, json: json ?? text, hex: asHex(shown) }[chosen];
  const choose = (other) => () => {
    form = other;
    redraw();
  };
  return html`
    <div class="body">
      <div class="choices" role="group" aria-label=${t('body_as')}>
        ${['text', 'json', 'hex'].map((other) => html`
          <button type="button" aria-pressed=${other === chosen} @click=${choose(other)}>${t(other)}</button>`)}
        <span class="quiet">${bytes(length)}${length > MOST ? t('cut') : ''}</span>
      </div>
      <pre tabindex="0" aria-label=${t('body')}>${written}</pre>
    </div>`;
}

/** Something as readable JSON. */
export const json = (value, label) =>
  html`<pre tabindex="0" aria-label=${label}>${JSON.stringify(value, null, 2) ?? ''}</pre>`;

/** What plugins would publish, as a list of lines; and what they logged. */
export const trial = (result) => html`
  <section class="trial" aria-label=${t('would_be')}>
    <h2>${t('would_be')} <span class="quiet">${result.plugin} ${result.version ?? ''}</span></h2>
    ${result.problems.map((problem) => notice('bad', problem))}
    ${result.lines.length === 0 && result.problems.length === 0 ? empty(t('nothing_published')) : nothing}
    ${result.lines.map((line) => html`
      <article class="line ${line.dead ? 'bad' : ''}">
        <header>
          ${line.dead ? badge('bad', t('dead')) : badge('good', line.due ? t('delayed') : t('published'))}
          <code>${line.dead ? line.dead.routing_key : `${line.exchange} · ${line.routing_key}`}</code>
          <span class="quiet">${t('at_time')} ${when(line.at)}</span>
        </header>
        ${line.dead ? html`<p>${line.dead.reason}</p>` : nothing}
        ${json(line.dead ?? line, t('message'))}
      </article>`)}
    ${result.left_out ? notice('warn', t('left_out', { count: result.left_out })) : nothing}
    <h2>${t('log')}</h2>
    ${logLines(result.log)}
    <p class="quiet">${t('nothing_leaves')}</p>
  </section>`;

/** Lines in the order in which they were logged, of which the end is in view: see `.log`. */
export const logLines = (lines) =>
  lines.length === 0
    ? empty(t('no_log'))
    : html`<div class="log" tabindex="0" role="region" aria-label=${t('log')}><ol>${
      repeat(lines, ({ number }) => number, (line) => html`
        <li class=${line.level.toLowerCase()}><time datetime=${line.time}>${time(line.time)}</time>
          <b>${line.level}</b> <span>${line.context}</span> ${line.message}</li>`)}</ol></div>`;

// ── Dialogs ──

/** Asks before something is done that cannot be undone, `to` what. Resolves to whether it is to be. */
export function confirm(text, act, to = nothing) {
  return dialog(text, (close) => html`
    <form method="dialog" @submit=${(event) => { event.preventDefault(); close(true); }}>
      <h2 id="dialog-title">${text}</h2>
      ${to}
      <div class="actions">
        <button type="button" @click=${() => close(false)}>${t('cancel')}</button>
        <button type="submit" class="strong">${act}</button>
      </div>
    </form>`);
}

/** Shows a dialog that `content` draws, given what closes it with a value. */
export function dialog(label, content) {
  const element = document.createElement('dialog');
  element.setAttribute('aria-labelledby', 'dialog-title');
  document.body.append(element);
  return new Promise((resolve) => {
    const close = (value) => {
      element.close();
      element.remove();
      resolve(value);
    };
    element.addEventListener('cancel', (event) => {
      event.preventDefault();
      close(false);
    });
    const draw = () => render(content(close, draw), element);
    draw();
    element.showModal();
    element.querySelector('input, button[type=submit]')?.focus();
  });
}

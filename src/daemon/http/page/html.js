// lit-html, as the page uses it. It writes no markup from values, and the browser is told to take none:
// whatever comes from outside is text. Here that text becomes plain as well.

import { html as lit, nothing, render, svg } from './vendor/lit-html/lit-html.js';
import { repeat } from './vendor/lit-html/directives/repeat.js';

export { nothing, render, repeat, svg };

/** Characters that turn the direction of a line, or are not seen, by their numbers: those that
    `src/escape.rs` escapes, but for line breaks and tabs. */
const plain = (text) =>
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (character) => `\\u{${character.codePointAt(0).toString(16)}}`);

/** lit-html's `html`, of plain text. What a field holds stays as it is, since it is sent. */
export const html = (strings, ...values) =>
  lit(strings, ...values.map((value, at) =>
    (typeof value === 'string' && !strings[at].endsWith('value=') ? plain(value) : value)));

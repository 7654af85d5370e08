// Small charts. Each says in words what it shows.

import { html, svg, nothing } from './html.js';
import { clock, number } from './format.js';
import { t } from './text.js';

const WIDTH = 300;
const HEIGHT = 72;
/** How long the time is that a line shows, in seconds. */
const HOUR = 3600;
const LEAST = 120;

/** The least round number that is not below `value`. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value);
}

/** A line over time. `points` are `{at, value}`, in seconds since 1970, oldest first. */
export function line(title, points, write, kind = '') {
  const most = Math.max(0, ...points.map((point) => point.value));
  const top = ceiling(most);
  const now = points.at(-1);
  // A router that is young has less than an hour to show.
  const span = Math.min(HOUR, Math.max(LEAST, (now?.at ?? 0) - (points[0]?.at ?? 0)));
  const start = (now?.at ?? 0) - span;
  const x = (at) => ((at - start) / span) * WIDTH;
  const y = (value) => HEIGHT - (value / top) * (HEIGHT - 6) - 1;
  const place = points.filter((point) => point.at >= start)
    .map((point) => `${x(point.at).toFixed(1)},${y(point.value).toFixed(1)}`);
  const label = t('chart', { title, now: write(now?.value ?? 0), most: write(most) });
  return html`
    <figure class="chart ${kind}">
      <figcaption><span>${title}</span><b>${now ? write(now.value) : '–'}</b></figcaption>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
        <line class="grid" x1="0" x2=${WIDTH} y1=${y(top)} y2=${y(top)} />
        <line class="grid" x1="0" x2=${WIDTH} y1=${y(top / 2)} y2=${y(top / 2)} />
        <line class="base" x1="0" x2=${WIDTH} y1=${HEIGHT - 1} y2=${HEIGHT - 1} />
        ${place.length > 1 ? svg`
          <polygon class="area" points=${`${place[0].split(',')[0]},${HEIGHT} ${place.join(' ')} ${place.at(-1).split(',')[0]},${HEIGHT}`} />
          <polyline class="line" points=${place.join(' ')} />` : nothing}
      </svg>
      <div class="axis" aria-hidden="true">
        <span>${now ? clock(new Date(start * 1000)).slice(0, 5) : ''}</span>
        <span>${t('most', { value: write(most) })}</span>
        <span>${t('now')}</span>
      </div>
    </figure>`;
}

/** Bars to open: `{label, count, from, until}`. */
export function bars(title, list, chosen, open) {
  const most = Math.max(1, ...list.map((bar) => bar.count));
  const total = list.reduce((sum, bar) => sum + bar.count, 0);
  return html`
    <figure class="bars">
      <figcaption><span>${title}</span><b>${list.length ? number(total) : nothing}</b></figcaption>
      <div class="row">
        ${list.map((bar) => {
          const height = bar.count === 0 ? 0 : Math.max(4, (bar.count / most) * 64);
          const label = t('bar', { count: number(bar.count), label: bar.label });
          return html`
            <button type="button" ?disabled=${bar.count === 0} aria-pressed=${bar === chosen}
              aria-label=${label} title=${label} @click=${() => open(bar)}>
              <svg viewBox="0 0 10 64" preserveAspectRatio="none" aria-hidden="true">
                <rect x="0" width="10" y=${64 - height} height=${height} rx="1" />
              </svg>
            </button>`;
        })}
      </div>
      <div class="axis" aria-hidden="true"><span>${list[0]?.start ?? '–'}</span><span>${list.at(-1)?.end}</span></div>
    </figure>`;
}

/** A curve without axes, beside a number. */
export function spark(values, label) {
  const most = Math.max(1, ...values);
  return html`
    <svg class="spark" viewBox="0 0 ${values.length * 4} 20" preserveAspectRatio="none" role="img" aria-label=${label}>
      ${values.map((value, at) => {
        const height = value === 0 ? 1 : Math.max(2, (value / most) * 20);
        return svg`<rect class=${value ? 'some' : ''} x=${at * 4} width="3" y=${20 - height} height=${height} />`;
      })}
    </svg>`;
}

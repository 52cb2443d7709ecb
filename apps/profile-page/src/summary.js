// Who was measured, how fast it was, and where the time went.
import { bytes, count, finite, NONE, number, percent, seconds, whole } from './format.js';
import { definitions, hideTip, html, note, section, showTip } from './dom.js';
import { inkOn, opColour } from './colours.js';
import { perPhase } from './profile.js';
import { column, hostTimes, table } from './table.js';

// The free-running run of the median time (of an even number the faster one), and how many there are.
function freeRun({ runs }) {
    const timed = runs
        .filter((run) => run.mode === 'free' && finite(run.seconds))
        .sort((a, b) => a.seconds - b.seconds);
    return { run: timed[Math.floor((timed.length - 1) / 2)] ?? runs[0] ?? {}, count: timed.length };
}

const plural = (value, one) => `${whole(value)} ${one}${value === 1 ? '' : 's'}`;

function besideSpan({ free_span: span, serial_sum: sum }) {
    if (!(span > 0) || !finite(sum)) {
        return 'each dispatch by itself';
    }
    return `${percent(100 * Math.abs(sum / span - 1))} ${sum < span ? 'under' : 'over'} the span`;
}

function figures(profile) {
    const { run, count: runs } = freeRun(profile);
    const spans = profile.totals;
    const list = [
        [
            'tokens a second',
            number(run.tokens_per_second),
            `${plural(run.tokens, 'token')} in ${seconds(run.seconds)}${runs > 1 ? `, the median of ${runs} runs` : ''}`,
        ],
        [
            'tokens a forward',
            number(run.tokens_per_forward),
            `${plural(run.forwards, 'forward')} in ${plural(run.rounds, 'round')}`,
        ],
        ['free-running span', seconds(spans.free_span), `in groups: ${seconds(spans.free_groups)}`],
        ['serialised sum', seconds(spans.serial_sum), besideSpan(spans)],
    ];
    return html(
        'dl',
        { class: 'figures' },
        list.map(([name, value, under]) =>
            html(
                'div',
                {},
                html('dt', {}, name),
                html('dd', { class: value === NONE ? 'none' : null }, value),
                html('dd', { class: 'under' }, under),
            ),
        ),
    );
}

// One bar of parts; the list beneath it says the same in words.
function shareBar(title, parts, colour) {
    const total = parts.reduce((sum, [, value]) => sum + value, 0);
    if (!(total > 0)) {
        return null;
    }
    const shares = parts.map(([name, value]) => [name, value, value / total]).sort((a, b) => b[1] - a[1]);
    const bar = html(
        'div',
        { class: 'shares', 'aria-hidden': 'true' },
        shares.map(([name, value, share]) => {
            const piece = html(
                'span',
                {
                    onpointermove: (event) =>
                        showTip(event.clientX, event.clientY, name, [
                            ['time', seconds(value)],
                            ['share', percent(100 * share)],
                        ]),
                    onpointerleave: hideTip,
                },
                share > 0.07 ? name : '',
            );
            piece.style.flexGrow = String(share);
            piece.style.background = colour(name);
            piece.style.color = inkOn(colour(name));
            return piece;
        }),
    );
    const legend = html(
        'ul',
        { class: 'legend' },
        shares.map(([name, , share]) => {
            const swatch = html('i', { class: 'swatch' });
            swatch.style.background = colour(name);
            return html('li', {}, swatch, name, ' ', html('b', {}, percent(100 * share)));
        }),
    );
    return html('figure', { class: 'share-figure' }, html('figcaption', {}, title), bar, legend);
}

function sumBy(rows, key) {
    const sums = new Map();
    rows.filter((row) => finite(row.total)).forEach((row) => sums.set(row[key], (sums.get(row[key]) ?? 0) + row.total));
    return [...sums].map(([name, total]) => [String(name ?? NONE), total]);
}

// Greys, from dark to light, that keep apart what has no colour of its own.
const PHASE_GREYS = { prefill: '#3f4854', plan: '#5d6b7c', verify: '#93a1b1', complete: '#c3ccd6', ar: '#7a8797' };
const phaseGrey = (phase) => PHASE_GREYS[phase] ?? '#aab3bd';

function spans({ totals }) {
    const list = [
        ['free-running span', totals.free_span],
        ['free-running groups', totals.free_groups],
        ['serialised sum', totals.serial_sum],
    ].filter(([, value]) => finite(value));
    const most = Math.max(...list.map(([, value]) => value), 0);
    if (list.length === 0 || most <= 0) {
        return null;
    }
    return html(
        'ul',
        { class: 'spans' },
        list.map(([name, value]) => {
            const bar = html('i');
            bar.style.width = `${(100 * value) / most}%`;
            return html(
                'li',
                {},
                html('span', {}, name),
                html('span', { class: 'rail' }, bar),
                html('b', {}, seconds(value)),
            );
        }),
    );
}

function clock({ timestamps, clock: kind }) {
    if (timestamps === false) {
        return 'none: the device has no timestamps';
    }
    return kind?.kind ? kind.kind + (finite(kind.error_us) ? `, ± ${number(kind.error_us, 2)} µs` : '') : null;
}

const some = (value, format = whole) => (finite(value) ? format(value) : null);

function facts({ device, model, settings, ceilings }) {
    const ceiling = (value, unit) =>
        finite(value) ? (value > 0 ? `${number(value)} ${unit}` : 'not on this device') : null;
    return html(
        'div',
        { class: 'facts' },
        html(
            'div',
            {},
            html('h3', {}, 'Device'),
            definitions([
                ['name', device.name],
                ['driver', device.driver],
                ['type', device.type],
                ['tiers', device.tiers],
                ['GPU clock', clock(device)],
                ['read', ceiling(ceilings.read_gb_per_second, 'GB/s')],
                ['read, as much as the weights', ceiling(ceilings.read_model_gb_per_second, 'GB/s')],
                ['f32', ceiling(ceilings.f32_tflops, 'TFLOP/s')],
                ['f16', ceiling(ceilings.f16_tflops, 'TFLOP/s')],
                ['int8', ceiling(ceilings.int8_tops, 'TOP/s')],
                ['matrix units', ceiling(ceilings.coopmat_tflops, 'TFLOP/s')],
            ]),
        ),
        html(
            'div',
            {},
            html('h3', {}, 'Model'),
            definitions([
                ['name', model.name],
                ['precision', model.precision],
                ['layers', some(model.layers)],
                ['hidden', some(model.hidden)],
                [
                    'heads',
                    finite(model.heads)
                        ? `${model.heads} of ${model.head_dim ?? NONE}, ${model.kv_heads ?? NONE} for keys and values`
                        : null,
                ],
                ['feed-forward', some(model.ffn)],
                ['vocabulary', some(model.vocab)],
                ['parameters', some(model.parameters, count)],
                ['weights', some(model.weight_bytes, bytes)],
            ]),
        ),
        html(
            'div',
            {},
            html('h3', {}, 'Settings'),
            definitions(
                Object.entries(settings).map(([name, value]) => [
                    name.replaceAll('_', ' '),
                    value === null ? null : String(value),
                ]),
            ),
        ),
    );
}

export function drawSummary(profile) {
    const { device, model, runs } = profile;
    document.title = `refusion profile: ${model.name ?? 'model'} on ${device.name ?? 'device'}`;
    section('title').textContent = model.name ?? 'refusion profile';
    section('subtitle').textContent = [device.name, device.driver, profile.date?.replace('T', ' ').replace('Z', ' UTC')]
        .filter(Boolean)
        .join(' · ');
    const shaders = perPhase(profile);
    section('summary').append(
        figures(profile),
        ...[
            shareBar('Serialised GPU time by operation', sumBy(shaders, 'op'), opColour),
            shareBar('Serialised GPU time by phase', sumBy(shaders, 'phase'), phaseGrey),
        ].filter(Boolean),
        html(
            'div',
            { class: 'explained' },
            ...[spans(profile)].filter(Boolean),
            ...[profile.explanation && note(profile.explanation)].filter(Boolean),
        ),
        facts(profile),
    );
    if (runs.length > 0) {
        section('summary').append(
            table(
                'table-runs',
                'Runs',
                [
                    column.text('mode', (run) => run.mode),
                    column.time('time', (run) => run.seconds, runs),
                    column.time('GPU', (run) => run.gpu_seconds, runs),
                    ...hostTimes(runs),
                    column.whole('tokens', (run) => run.tokens),
                    column.whole('rounds', (run) => run.rounds),
                    column.whole('forwards', (run) => run.forwards),
                    column.number('tokens/forward', (run) => run.tokens_per_forward),
                    column.number('tokens/s', (run) => run.tokens_per_second),
                ],
                runs,
                [-1, false],
            ),
        );
    }
    section('footer').append(
        `refusion ${profile.refusion ?? ''}. This page is one file and asks the network for nothing.`,
    );
}

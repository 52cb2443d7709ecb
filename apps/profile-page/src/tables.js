// The tables: what the terminal prints, sortable.
import { finite, NONE, number, whole } from './format.js';
import { html, note, section } from './dom.js';
import { column, hostTimes, table } from './table.js';

const layerName = {
    name: 'layer',
    value: (row) => row.layer,
    text: (v) => (v >= 0 ? String(v) : finite(v) ? 'outside' : NONE),
};
const rates = [
    column.number('GB/s', (row) => row.gb_per_second, 'Bytes read and written, a second'),
    column.number('TFLOP/s', (row) => row.tflops, 'Operations a second'),
    column.percent(
        'of floor',
        (row) => row.percent_of_floor,
        'How near to the measured ceilings: 100 % is the device at its best',
    ),
];

// Between the least and the most that a run took for it, beside their mean.
function spread({ run_totals: totals }) {
    const known = Array.isArray(totals) ? totals.filter(finite) : [];
    const sum = known.reduce((a, b) => a + b, 0);
    return known.length > 1 && sum > 0 ? (100 * known.length * (Math.max(...known) - Math.min(...known))) / sum : null;
}

// The numbers of whatever was added up; the last SPREADS of them say how they vary.
const SPREADS = 4;
const sums = (rows) => [
    column.time('total', (row) => row.total, rows, 'Serialised'),
    column.share('share', (row) => row.share, 'Of the serialised sum'),
    column.whole('calls', (row) => row.calls),
    column.number('rows', (row) => row.rows_mean ?? row.rows / row.calls, 'Mean over the calls'),
    column.time('mean', (row) => row.mean, rows),
    ...rates,
    column.time('least', (row) => row.least, rows),
    column.time('most', (row) => row.most, rows),
    column.percent('spread', spread, 'Between the least and the most of the runs, beside their mean'),
    column.time('free total', (row) => row.free_total, rows, 'In the free-running runs'),
];

const shaders = (rows) =>
    table(
        'table-shaders',
        'Shaders',
        [
            column.text('op', (row) => row.op),
            column.text('phase', (row) => row.phase),
            ...sums(rows).slice(0, -SPREADS),
            column.text('shader', (row) => row.shader),
            ...sums(rows).slice(-SPREADS),
            column.number('MB read', (row) => (finite(row.bytes_read) ? row.bytes_read / 1e6 : null)),
            column.number('MB written', (row) => (finite(row.bytes_written) ? row.bytes_written / 1e6 : null)),
            column.number(
                'Gop',
                (row) => (finite(row.operations) ? row.operations / 1e9 : null),
                'Operations, in thousand millions',
            ),
            column.text('workgroup', (row) => (Array.isArray(row.workgroup) ? row.workgroup.join(' × ') : null)),
        ],
        rows,
        [2, true],
    );

const layers = (rows) =>
    table('table-layers', 'Layers', [layerName, column.text('op', (row) => row.op), ...sums(rows)], rows, [0, false]);

const phases = (rows) =>
    table(
        'table-phases',
        'Phases',
        [
            column.text('phase', (row) => row.phase),
            ...sums(rows),
            column.whole('submissions', (row) => row.submissions),
        ],
        rows,
        [1, true],
    );

const costliest = (rows) =>
    table(
        'table-costliest',
        'Costliest dispatches',
        [
            column.text('op', (row) => row.op),
            layerName,
            column.text('phase', (row) => row.phase),
            column.whole('round', (row) => row.round),
            column.whole('rows', (row) => row.rows),
            column.time('time', (row) => row.seconds, rows),
            ...rates,
            column.text('shader', (row) => row.shader),
        ],
        rows,
        [5, true],
    );

const rounds = (rows) =>
    table(
        'table-rounds',
        'Rounds',
        [
            column.whole('round', (row) => row.round),
            column.whole(
                'slots left',
                (row) => row.slots_remaining,
                'Slots that were still masked when the round began',
            ),
            column.whole('chosen', (row) => row.slots_chosen, 'Slots that the plan chose'),
            column.whole('tokens', (row) => row.tokens_committed, 'Tokens committed'),
            column.whole('forwards', (row) => row.forwards),
            column.number('tokens/forward', (row) => (row.forwards > 0 ? row.tokens_committed / row.forwards : null)),
            column.whole('submissions', (row) => row.submissions),
            column.whole('rows', (row) => row.rows),
            column.time('GPU', (row) => row.gpu, rows),
            ...hostTimes(rows),
        ],
        rows,
        [0, false],
    );

const list = (value) => (Array.isArray(value) ? value : []);

// A constant that the shader does not use has no name.
const constants = (row) =>
    list(row.specs)
        .map((one) => `${one?.name ?? `#${one?.id}`}=${one?.value}`)
        .join(' ');

// Sides of 1 behind the first are left out.
function sides(row) {
    const [first, ...others] = list(row.local_size);
    return others.some((side) => side > 1) ? [first, ...others].join(' × ') : first;
}

// Largest numbers of rows of the forwards that take it.
const buckets = (row) => list(row.row_buckets).join(', ');

// What a driver tells of a pipeline is its own choice: each name is a column.
function pipelines(rows) {
    const statistic = (row, name) => list(row.statistics).find((one) => one?.name === name)?.value;
    const names = [...new Set(rows.flatMap((row) => list(row.statistics).map((one) => one?.name)))];
    return table(
        'table-pipelines',
        'Pipelines',
        [
            column.text('shader', (row) => row.shader),
            column.text('ops', (row) => list(row.ops).join(', ')),
            column.text('rows up to', buckets, 'Forwards that take it, by the most rows that they hold'),
            column.text('specialization', constants),
            column.whole('subgroup', (row) => row.subgroup_size),
            column.text('workgroup', sides),
            column.whole('SPIR-V words', (row) => row.spirv_words),
            column.whole('shared bytes', (row) => row.shared_bytes, 'That the shader declares'),
            ...names.filter(Boolean).map((name) => ({
                name,
                value: (row) => statistic(row, name),
                text: (v) => (finite(v) ? (Number.isInteger(v) ? whole(v) : number(v)) : String(v ?? NONE)),
            })),
        ],
        rows,
        [0, false],
    );
}

// Hardware counters: of a call, each in a column.
function counters({ list: names, shaders: rows }) {
    return table(
        'table-counters',
        'Counters',
        [
            column.text('op', (row) => row.op),
            column.text('phase', (row) => row.phase),
            column.text('shader', (row) => row.shader),
            column.whole('calls', (row) => row.calls),
            column.time('mean', (row) => row.mean, rows, 'While they were counted'),
            ...names.map((one, index) =>
                column.number(
                    one.unit && one.unit !== 'generic' ? `${one.name} [${one.unit}]` : String(one.name),
                    (row) => list(row.values)[index],
                    one.description,
                ),
            ),
        ],
        rows,
        [4, true],
    );
}

export function drawTables(profile) {
    const made = Object.entries({ shaders, layers, phases, costliest, rounds, pipelines })
        .filter(([name]) => profile[name].length > 0)
        .map(([name, make]) => make(profile[name]));
    if (profile.counters.shaders.length > 0) {
        made.push(counters(profile.counters));
    }
    const links = made.map((element) =>
        html('a', { href: `#${element.id}` }, element.querySelector('h3').firstChild.textContent),
    );
    section('tables').append(
        ...(made.length > 0
            ? [
                  html('p', { class: 'links' }, links),
                  note('A click on a heading sorts; a second one turns the order round.'),
                  ...made,
              ]
            : [note('This profile holds no tables.')]),
    );
}

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

// What a driver tells of a pipeline is its own choice: each name is a column.
function pipelines(rows) {
    const statistic = (row, name) =>
        (Array.isArray(row.statistics) ? row.statistics : []).find((one) => one?.name === name)?.value;
    const names = [
        ...new Set(
            rows.flatMap((row) => (Array.isArray(row.statistics) ? row.statistics : []).map((one) => one?.name)),
        ),
    ];
    return table(
        'table-pipelines',
        'Pipelines',
        [
            column.text('shader', (row) => row.shader),
            column.text('specialization', (row) => (Array.isArray(row.specs) ? row.specs.join(' ') : null)),
            column.whole('subgroup', (row) => row.subgroup_size),
            column.whole('local size', (row) => row.local_size),
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

export function drawTables(profile) {
    const made = Object.entries({ shaders, layers, phases, costliest, rounds, pipelines })
        .filter(([name]) => profile[name].length > 0)
        .map(([name, make]) => make(profile[name]));
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

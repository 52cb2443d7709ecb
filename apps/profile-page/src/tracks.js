// The profile's times as tracks of slices. A slice: { begin, end, label, colour, kind, details() }, seconds of the run.
import { bytes, count, finite, number, seconds, whole } from './format.js';
import { opColour, theme } from './colours.js';

const layerName = (layer) => (layer >= 0 ? `layer ${layer}` : 'outside the layers');

// Encloses slices: the same key is one slice from the first begin to the last end.
function enclose(items, key, make) {
    const found = new Map();
    for (const item of items) {
        const name = key(item);
        const known = found.get(name);
        if (known) {
            known.begin = Math.min(known.begin, item.begin);
            known.end = Math.max(known.end, item.end);
            known.items.push(item);
        } else {
            found.set(name, { begin: item.begin, end: item.end, items: [item] });
        }
    }
    return [...found.values()].map((one) => ({ ...one, ...make(one) }));
}

const HOST = ['record', 'submit', 'wait', 'read'];

// The host's work for a submission: one phase after the other from host.begin on.
function hostSlices(submission) {
    const { host } = submission;
    if (!finite(host?.begin)) {
        return [];
    }
    let at = host.begin;
    return HOST.filter((name) => finite(host[name])).map((name) => {
        const slice = {
            begin: at,
            end: at + host[name],
            label: name,
            colour: theme(`host-${name}`),
            submission,
            details: () => [['time', seconds(host[name])], ...submissionDetails(submission)],
        };
        at = slice.end;
        return slice;
    });
}

const submissionDetails = (one) => [
    ['phase', one.phase],
    ['round', finite(one.round) ? whole(one.round) : null],
    ['rows', Array.isArray(one.rows) ? one.rows.filter((rows) => rows > 0).join(' + ') : null],
    ['outputs', finite(one.outputs) ? whole(one.outputs) : null],
    ['KV pages', finite(one.kv_pages) ? whole(one.kv_pages) : null],
    ['device memory', finite(one.memory_bytes) ? bytes(one.memory_bytes) : null],
];

const hasGpu = (submission) => finite(submission.gpu?.begin) && finite(submission.gpu?.end);

const NAMES = ['submission', 'op', 'layer', 'pass', 'group', 'rows', 'read', 'written', 'operations', 'begin', 'end'];

// What was measured is a group between two barriers: its dispatches share begin and end.
function groups(trace, submissions) {
    const byIndex = new Map(submissions.map((one) => [one.index, one]));
    const dispatches = trace.dispatches
        .filter((row) => finite(row[9]) && finite(row[10]))
        .map((row) => {
            const one = Object.fromEntries(NAMES.map((name, index) => [name, row[index]]));
            const [op, shader] = trace.ops[one.op] ?? ['?', '?'];
            return { ...one, op, shader, of: byIndex.get(one.submission) };
        });
    return enclose(
        dispatches,
        (one) => `${one.submission}/${one.pass}/${one.group}/${one.begin}`,
        ({ items }) => ({
            label: items.map((one) => one.op).join(' + '),
            colour: opColour(items[0].op),
            details: () => groupDetails(items),
        }),
    ).sort((a, b) => a.begin - b.begin);
}

function groupDetails(items) {
    const [first] = items;
    const time = first.end - first.begin;
    const sum = (name) => items.reduce((total, one) => total + (finite(one[name]) ? one[name] : 0), 0);
    const [read, written, operations] = ['read', 'written', 'operations'].map(sum);
    const rate = (amount, unit) => (time > 0 && amount > 0 ? `${number(amount / time)} ${unit}` : null);
    return [
        ['time', seconds(time)],
        ...(items.length > 1
            ? [
                  ['measured together', `${items.length} dispatches`],
                  ...items.map((one, i) => [`${i + 1}`, `${one.op} · ${one.shader} · ${layerName(one.layer)}`]),
              ]
            : [
                  ['shader', first.shader],
                  ['layer', first.layer >= 0 ? String(first.layer) : layerName(first.layer)],
              ]),
        ['phase', first.of?.phase],
        ['round', finite(first.of?.round) ? whole(first.of.round) : null],
        ['pass', finite(first.pass) ? whole(first.pass + 1) : null],
        ['rows', whole(first.rows)],
        ['read', bytes(read)],
        ['written', bytes(written)],
        ['operations', count(operations)],
        ['moved', rate((read + written) / 1e9, 'GB/s')],
        ['computed', rate(operations / 1e12, 'TFLOP/s')],
    ];
}

// sampled: begin and end of each submission whose dispatches are known
export function makeTracks(profile) {
    const { submissions, trace } = profile;
    const host = submissions.map(hostSlices);
    const hostAll = host.flat();
    const hostSpans = host
        .filter((slices) => slices.length > 0)
        .map((slices) => ({
            begin: slices[0].begin,
            end: slices[slices.length - 1].end,
            label: String(slices[0].submission.phase ?? ''),
            submission: slices[0].submission,
            colour: theme('enclosing'),
            details: () => [
                ['time on the host', seconds(slices[slices.length - 1].end - slices[0].begin)],
                ...slices.map((slice) => [slice.label, seconds(slice.end - slice.begin)]),
                ...submissionDetails(slices[0].submission),
            ],
        }));
    const gpu = submissions.filter(hasGpu).map((one) => ({
        begin: one.gpu.begin,
        end: one.gpu.end,
        label: String(one.phase ?? ''),
        colour: theme('enclosing'),
        submission: one,
        details: () => [['time on the GPU', seconds(one.gpu.end - one.gpu.begin)], ...submissionDetails(one)],
    }));
    const dispatches = groups(trace, submissions);
    const layers = enclose(
        dispatches.filter((one) => one.items[0].layer >= 0),
        (one) => `${one.items[0].submission}/${one.items[0].pass}/${one.items[0].layer}`,
        ({ items, begin, end }) => ({
            label: layerName(items[0].items[0].layer),
            colour: theme('enclosing'),
            details: () => [
                ['time', seconds(end - begin)],
                ['dispatches', whole(items.reduce((n, one) => n + one.items.length, 0))],
                ['phase', items[0].items[0].of?.phase],
                ['round', finite(items[0].items[0].of?.round) ? whole(items[0].items[0].of.round) : null],
            ],
        }),
    );
    const rounds = enclose(
        [...hostSpans, ...gpu].filter((one) => finite(one.submission.round)),
        (one) => one.submission.round,
        ({ items, begin, end }) => {
            const number_ = items[0].submission.round;
            const row = profile.rounds.find((one) => one.round === number_) ?? {};
            return {
                label: `round ${number_}`,
                short: String(number_),
                colour: theme(number_ % 2 ? 'round-odd' : 'round-even'),
                details: () => [
                    ['time', seconds(end - begin)],
                    ...['slots_remaining', 'slots_chosen', 'tokens_committed', 'forwards'].map((name) => [
                        name.replace('_', ' '),
                        finite(row[name]) ? whole(row[name]) : null,
                    ]),
                ],
            };
        },
    );
    const tracks = [
        { name: 'Rounds', slices: rounds, height: 18 },
        { name: 'Host', slices: hostSpans, height: 18, gap: 8 },
        { name: '', spoken: 'Host phases', slices: hostAll, height: 20 },
        { name: 'GPU', slices: gpu, height: 18, gap: 8 },
        { name: '', spoken: 'Layers', slices: layers, height: 18 },
        { name: '', spoken: 'Dispatches', slices: dispatches, height: 30 },
    ].filter((track) => track.slices.length > 0);
    tracks.forEach((track) => track.slices.sort((a, b) => a.begin - b.begin));
    const ends = tracks.flatMap((track) => track.slices.map((slice) => slice.end));
    const sampled = enclose(
        dispatches,
        (one) => one.items[0].submission,
        () => ({}),
    );
    return { tracks, end: ends.reduce((a, b) => Math.max(a, b), 0), sampled };
}

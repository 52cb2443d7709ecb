// Layers by operations: a table whose cells are coloured by one of their numbers.
import { finite, NONE, number, percent, seconds, timeUnit, whole } from './format.js';
import { choice, definitions, hideTip, html, note, section, showTip } from './dom.js';
import { inkOn, parts, theme } from './colours.js';

const METRICS = {
    mean: { name: 'mean time', value: (cell) => cell.mean },
    share: {
        name: 'share',
        value: (cell) => cell.share,
        text: (v) => number(100 * v, 2),
        unit: '% of the serialised time',
    },
    gb: { name: 'GB/s', value: (cell) => cell.gb_per_second, text: (v) => number(v), unit: 'GB/s' },
    floor: {
        name: '% of floor',
        value: (cell) => cell.percent_of_floor,
        text: (v) => number(v),
        unit: '% of the floor: 100 is as fast as the device can',
    },
};

const details = (cell) => [
    ['calls', whole(cell.calls)],
    ['mean', seconds(cell.mean)],
    ['total', seconds(cell.total)],
    ['share', finite(cell.share) ? percent(100 * cell.share, 2) : null],
    ['moved', finite(cell.gb_per_second) ? `${number(cell.gb_per_second)} GB/s` : null],
    ['computed', finite(cell.tflops) ? `${number(cell.tflops)} TFLOP/s` : null],
    ['of the floor', finite(cell.percent_of_floor) ? percent(cell.percent_of_floor) : null],
];

// Between the two ends of the scheme's ramp, one hue: lighter and darker, which every eye tells apart.
function ramp(part) {
    const [low, high] = [parts(theme('ramp-low')), parts(theme('ramp-high'))];
    return `rgb(${low.map((value, index) => Math.round(value + (high[index] - value) * part)).join(', ')})`;
}

class HeatMap {
    constructor(cells) {
        this.cells = new Map(cells.map((cell) => [`${cell.layer}/${cell.op}`, cell]));
        this.layers = [...new Set(cells.map((cell) => cell.layer))].sort((a, b) => a - b);
        this.ops = [...new Set(cells.map((cell) => cell.op))];
        this.metric = 'mean';
        this.within = 'all';
        this.table = html('table', { class: 'heat' });
        this.legend = html('p', { class: 'note ramp', id: 'layers-legend' });
    }

    values(op) {
        const cells = [...this.cells.values()].filter((cell) => op === undefined || cell.op === op);
        return cells.map(METRICS[this.metric].value).filter(finite);
    }

    range(op) {
        const values = this.values(this.within === 'op' ? op : undefined);
        return values.length > 0 ? [Math.min(...values), Math.max(...values)] : [0, 0];
    }

    draw() {
        const { value, text, unit } = METRICS[this.metric];
        const [size, timeName] = timeUnit(this.values());
        const show = text ?? ((v) => number(v / size));
        const ranges = new Map(this.ops.map((op) => [op, this.range(op)]));
        const cell = (layer, op) => {
            const found = this.cells.get(`${layer}/${op}`);
            const number_ = found ? value(found) : null;
            const element = html('td', {}, finite(number_) ? show(number_) : found ? NONE : '');
            if (found) {
                const title = `layer ${layer}, ${op}`;
                element.addEventListener('pointermove', (event) =>
                    showTip(event.clientX, event.clientY, title, details(found)),
                );
                element.addEventListener('pointerleave', hideTip);
            }
            if (finite(number_)) {
                const [low, high] = ranges.get(op);
                const colour = ramp(high > low ? (number_ - low) / (high - low) : 0.5);
                element.style.background = colour;
                element.style.color = inkOn(colour);
            }
            return element;
        };
        this.table.replaceChildren(
            html('caption', {}, `${METRICS[this.metric].name}, ${unit ?? timeName}`),
            html(
                'thead',
                {},
                html(
                    'tr',
                    {},
                    html('th', { scope: 'col' }, 'layer'),
                    this.ops.map((op) => html('th', { scope: 'col' }, op)),
                ),
            ),
            html(
                'tbody',
                {},
                this.layers.map((layer) =>
                    html(
                        'tr',
                        {},
                        html('th', { scope: 'row' }, layer),
                        this.ops.map((op) => cell(layer, op)),
                    ),
                ),
            ),
        );
        const bar = html('i');
        bar.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(', ')})`;
        const [low, high] = this.range(this.ops[0]);
        this.legend.replaceChildren(
            ...(this.within === 'op'
                ? ['least of its column', bar, 'most of its column']
                : [`${show(low)}`, bar, `${show(high)} ${unit ?? timeName}`]),
        );
    }
}

function outside(cells) {
    if (cells.length === 0) {
        return [];
    }
    return [
        html('h3', {}, 'Outside the layers'),
        html(
            'ul',
            { class: 'outside' },
            cells.map((cell) =>
                html(
                    'li',
                    {},
                    html('strong', {}, cell.op ?? NONE),
                    definitions(
                        details(cell).filter(([name]) => ['mean', 'total', 'moved', 'of the floor'].includes(name)),
                    ),
                ),
            ),
        ),
    ];
}

export function drawLayers(profile) {
    const place = section('layers');
    const inside = profile.layers.filter((cell) => cell.layer >= 0);
    if (inside.length === 0) {
        place.append(note('This profile holds no times of layers.'), ...outside(profile.layers));
        return;
    }
    const map = new HeatMap(inside);
    map.draw();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => map.draw());
    place.append(
        html(
            'div',
            { class: 'bar-of-tools' },
            choice(
                'Number',
                Object.entries(METRICS).map(([key, { name }]) => [key, name]),
                'mean',
                (key) => {
                    map.metric = key;
                    map.draw();
                },
            ),
            choice(
                'Colours',
                [
                    ['all', 'whole map'],
                    ['op', 'each column'],
                ],
                'all',
                (key) => {
                    map.within = key;
                    map.draw();
                },
            ),
            map.legend,
        ),
        html(
            'div',
            { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Heat map of layers and operations' },
            map.table,
        ),
        ...outside(profile.layers.filter((cell) => !(cell.layer >= 0))),
    );
}

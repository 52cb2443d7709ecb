// The roofline: operations a byte against operations a second, with what the device does at best as lines.
import { scaleLog } from 'd3-scale';
import { axisBottom, axisLeft } from 'd3-axis';
import { select } from 'd3-selection';
import { count, finite, number, percent, seconds, whole } from './format.js';
import { definitions, hideTip, html, note, onLayout, section, showTip, svg } from './dom.js';
import { opColour } from './colours.js';
import { perPhase, PHASES } from './profile.js';

// A phase is a shape, an operation a colour: neither says anything alone that the words do not.
const SHAPES = {
    prefill: (r) => `M0,${-1.2 * r}L${1.15 * r},${0.8 * r}H${-1.15 * r}Z`,
    plan: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
    verify: (r) => `M${-0.9 * r},${-0.9 * r}H${0.9 * r}V${0.9 * r}H${-0.9 * r}Z`,
    complete: (r) => `M0,${-1.25 * r}L${1.25 * r},0L0,${1.25 * r}L${-1.25 * r},0Z`,
};
const shape = (phase) => SHAPES[phase] ?? ((r) => `M0,${1.2 * r}L${1.15 * r},${-0.8 * r}H${-1.15 * r}Z`);

const MATH = [
    ['f32_tflops', 'f32'],
    ['f16_tflops', 'f16'],
    ['int8_tops', 'int8'],
    ['coopmat_tflops', 'matrix units'],
];
const READ = [
    ['read_gb_per_second', 'read'],
    ['read_model_gb_per_second', 'read, as much as the weights'],
];

function ceilings({ ceilings: values }) {
    const positive = (list, unit) =>
        list.filter(([key]) => values[key] > 0).map(([key, name]) => ({ name, value: values[key] * unit }));
    const read = positive(READ, 1e9);
    return {
        read: read.length > 1 && read[0].value === read[1].value ? read.slice(0, 1) : read,
        math: positive(MATH, 1e12),
    };
}

// { x: operations a byte, y: operations a second } or null for kernels that compute nothing, or took no time
function point(kernel) {
    const bytes = (kernel.bytes_read ?? 0) + (kernel.bytes_written ?? 0);
    const y = finite(kernel.tflops) ? kernel.tflops * 1e12 : kernel.operations / kernel.total;
    const x =
        finite(kernel.tflops) && kernel.gb_per_second > 0
            ? (kernel.tflops * 1e3) / kernel.gb_per_second
            : kernel.operations / bytes;
    return finite(x) && finite(y) && x > 0 && y > 0 ? { kernel, x, y } : null;
}

const details = ({ kernel, x, y }) => [
    ['shader', kernel.shader],
    ['phase', kernel.phase],
    ['calls', whole(kernel.calls)],
    ['time', seconds(kernel.total)],
    ['share', finite(kernel.share) ? percent(100 * kernel.share) : null],
    ['rows, mean', number(kernel.rows_mean)],
    ['computed', `${count(y)}op/s`],
    ['operations a byte', number(x)],
    ['moved', finite(kernel.gb_per_second) ? `${number(kernel.gb_per_second)} GB/s` : null],
    ['of the floor', finite(kernel.percent_of_floor) ? percent(kernel.percent_of_floor) : null],
];

// Lines of text that would lie on each other are moved apart, downwards.
function spread(labels, distance) {
    labels.sort((a, b) => a.y - b.y);
    labels.forEach((label, index) => {
        if (index > 0) {
            label.y = Math.max(label.y, labels[index - 1].y + distance);
        }
    });
    return labels;
}

class Roofline {
    constructor(points, lines, frame, panel) {
        Object.assign(this, { points, lines, frame, panel, hidden: new Set(), current: 0 });
        this.most = Math.max(...points.map(({ kernel }) => kernel.share ?? 0), 1e-9);
    }

    scales(width, height, margin) {
        const { math, read } = this.lines;
        const xs = this.points.map(({ x }) => x);
        const ys = [...this.points.map(({ y }) => y), ...math.map(({ value }) => value)];
        // The ridges, where reading and computing take as long, belong in the picture.
        const ridges = math.flatMap((one) => read.map((other) => one.value / other.value));
        const x = scaleLog(
            [Math.min(...xs, 0.1) / 2, Math.max(...xs, ...ridges) * 4],
            [margin.left, width - margin.right],
        );
        const y = scaleLog([Math.min(...ys) / 3, Math.max(...ys) * 2], [height - margin.bottom, margin.top]);
        return { x, y };
    }

    axes(x, y, width, height, margin) {
        const horizontal = svg('g', { class: 'axis', transform: `translate(0,${height - margin.bottom})` });
        const vertical = svg('g', { class: 'axis', transform: `translate(${margin.left},0)` });
        const decades = (scale) => Math.max(1, Math.round(Math.log10(scale.domain()[1] / scale.domain()[0])));
        const short = (value) => (value < 1 ? number(value, 1) : count(value, 1));
        const ticks = (scale, axis, length) =>
            axis
                .tickValues(
                    scale
                        .ticks(Math.min(decades(scale), length / 50))
                        .filter((value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6),
                )
                .tickFormat(short)
                .tickSizeOuter(0);
        ticks(x, axisBottom(x).tickSizeInner(-(height - margin.top - margin.bottom)), width)(select(horizontal));
        ticks(y, axisLeft(y).tickSizeInner(-(width - margin.left - margin.right)), height)(select(vertical));
        return [
            horizontal,
            vertical,
            svg(
                'text',
                { class: 'axis-name', x: width - margin.right, y: height - 6, 'text-anchor': 'end' },
                'operations a byte',
            ),
            svg('text', { class: 'axis-name', x: 4, y: 12 }, 'operations a second'),
        ];
    }

    roofs(x, y) {
        const { math, read } = this.lines;
        const [left, right] = x.domain();
        const [low, high] = y.domain();
        const best = Math.max(...math.map(({ value }) => value), 0) || high;
        const fastest = Math.max(...read.map(({ value }) => value), 0);
        const marks = [];
        read.forEach(({ name, value }) => {
            const begin = Math.max(left, low / value);
            const end = Math.min(right, best / value);
            if (end > begin) {
                marks.push(
                    svg('line', { class: 'roof', x1: x(begin), y1: y(begin * value), x2: x(end), y2: y(end * value) }),
                );
                const at = begin * (end / begin) ** 0.18;
                const angle = Math.atan2(y(end * value) - y(begin * value), x(end) - x(begin)) * (180 / Math.PI);
                marks.push(
                    svg(
                        'text',
                        {
                            class: 'roof-name',
                            transform: `translate(${x(at)},${y(at * value)}) rotate(${angle})`,
                            dy: value === fastest ? -6 : 14,
                        },
                        `${x.range()[1] < 600 ? '' : name} ${number(value / 1e9)} GB/s`,
                    ),
                );
            }
        });
        math.forEach(({ value }) => {
            const begin = fastest > 0 ? Math.max(left, value / fastest) : left;
            marks.push(
                svg('line', { class: 'roof', x1: x(Math.min(begin, right)), y1: y(value), x2: x(right), y2: y(value) }),
            );
        });
        spread(
            math.map(({ name, value }) => ({ text: `${name} ${count(value)}op/s`, y: y(value) - 5 })),
            13,
        ).forEach((label) =>
            marks.push(svg('text', { class: 'roof-name', x: x(right), y: label.y, 'text-anchor': 'end' }, label.text)),
        );
        return marks;
    }

    draw(width) {
        const height = Math.round(Math.max(320, Math.min(480, width * 0.62)));
        const margin = { left: width < 600 ? 46 : 56, right: 12, top: 22, bottom: 38 };
        const { x, y } = this.scales(width, height, margin);
        this.shown = this.points.filter(({ kernel }) => !this.hidden.has(kernel.phase));
        this.marks = this.shown.map((one, index) => this.mark(one, index, x(one.x), y(one.y)));
        this.frame.replaceChildren(
            svg(
                'svg',
                {
                    width,
                    height,
                    viewBox: `0 0 ${width} ${height}`,
                    role: 'group',
                    'aria-label': `Roofline of ${this.shown.length} kernels; the same numbers are in the table of shaders`,
                },
                this.axes(x, y, width, height, margin),
                this.roofs(x, y),
                this.marks,
            ),
        );
    }

    // The points are one stop of the Tab key; arrows walk from the costliest to the cheapest.
    mark(one, index, left, top) {
        const { kernel } = one;
        const radius = 3.5 + 8 * Math.sqrt((kernel.share ?? 0) / this.most);
        const title = `${kernel.op}, ${kernel.phase ?? ''}`;
        const show = (px, py) => {
            showTip(px, py, title, details(one));
            this.panel.replaceChildren(html('strong', {}, title), definitions(details(one)));
        };
        const element = svg('path', {
            class: 'kernel',
            d: shape(kernel.phase)(radius),
            transform: `translate(${left},${top})`,
            fill: opColour(kernel.op),
            tabindex: index === 0 ? 0 : -1,
            role: 'img',
            'aria-label': [
                title,
                ...details(one)
                    .filter(([, value]) => value)
                    .map((pair) => pair.join(' ')),
            ].join(', '),
            onpointerenter: (event) => show(event.clientX, event.clientY),
            onpointerleave: hideTip,
            onclick: (event) => show(event.clientX, event.clientY),
            onblur: hideTip,
            onfocus: () => {
                const box = element.getBoundingClientRect();
                show(box.right, box.bottom);
            },
            onkeydown: (event) => {
                const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
                const next = by && this.marks[index + by];
                if (by) {
                    event.preventDefault();
                }
                if (next) {
                    element.setAttribute('tabindex', -1);
                    next.setAttribute('tabindex', 0);
                    next.focus();
                }
            },
        });
        return element;
    }
}

export function drawRoofline(profile) {
    const kernels = perPhase(profile);
    const points = kernels
        .map(point)
        .filter(Boolean)
        .sort((a, b) => (b.kernel.total ?? 0) - (a.kernel.total ?? 0));
    const place = section('roofline');
    if (points.length === 0) {
        place.append(note('No kernel of this profile has operations and a time.'));
        return;
    }
    const frame = html('div', { class: 'frame', id: 'roofline-plot' });
    const panel = html(
        'div',
        { class: 'details', id: 'roofline-details' },
        note('Point at a kernel, tap it, or walk with Tab and the arrow keys.'),
    );
    const roofline = new Roofline(points, ceilings(profile), frame, panel);
    const known = new Set(points.map(({ kernel }) => kernel.phase));
    const phases = [
        ...PHASES.filter((phase) => known.has(phase)),
        ...[...known].filter((phase) => !PHASES.includes(phase)),
    ];
    const toggles = phases.map((phase) =>
        html(
            'button',
            {
                type: 'button',
                'aria-pressed': 'true',
                onclick: (event) => {
                    const on = roofline.hidden.has(phase);
                    roofline.hidden[on ? 'delete' : 'add'](phase);
                    event.currentTarget.setAttribute('aria-pressed', String(on));
                    roofline.draw(frame.clientWidth);
                },
            },
            svg(
                'svg',
                { width: 14, height: 14, viewBox: '-7 -7 14 14', 'aria-hidden': 'true' },
                svg('path', { d: shape(phase)(5), class: 'key' }),
            ),
            String(phase ?? 'no phase'),
        ),
    );
    const ops = [...new Set(points.map(({ kernel }) => kernel.op))];
    const left = kernels.length - points.length;
    place.append(
        note(
            'A kernel under a slanted line is held back by reading, one under a level line by computing; the larger a point, ',
            'the more of the time it took.',
            left > 0 ? ` ${whole(left)} kernels without operations or time are left out.` : '',
        ),
        html(
            'div',
            { class: 'bar-of-tools' },
            html('div', { class: 'choice', role: 'group', 'aria-label': 'Phases' }, toggles),
            html(
                'ul',
                { class: 'legend' },
                ops.map((op) => {
                    const swatch = html('i', { class: 'swatch' });
                    swatch.style.background = opColour(op);
                    return html('li', {}, swatch, op);
                }),
            ),
        ),
        frame,
        panel,
    );
    onLayout(frame, (width) => roofline.draw(width));
}

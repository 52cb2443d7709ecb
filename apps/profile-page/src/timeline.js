// The timeline: tracks on a canvas, zoomed by wheel, pinch, drag and keys, with an overview of the whole run above.
import { scaleLinear } from 'd3-scale';
import { select } from 'd3-selection';
import { zoom as d3zoom, zoomIdentity } from 'd3-zoom';
import { finite, seconds, number, whole } from './format.js';
import { canvasContext, definitions, hideTip, html, note, onLayout, section, showTip } from './dom.js';
import { inkOn, theme } from './colours.js';
import { makeTracks } from './tracks.js';

const AXIS = 24;
const OVERVIEW = 30;
const FONT = '11px system-ui, sans-serif';

function layout(tracks) {
    let y = AXIS;
    for (const track of tracks) {
        y += track.gap ?? 0;
        track.y = y;
        y += track.height + 2;
    }
    return y + 4;
}

// The text, or its short form, or as much as fits: nothing at all rather than a letter or two.
function fitted(context, text, width, short) {
    if (context.measureText(text).width <= width) {
        return text;
    }
    if (short !== undefined) {
        return context.measureText(short).width <= width ? short : '';
    }
    const letters = Math.floor(width / 6.4) - 1;
    return letters >= 3 ? `${text.slice(0, letters)}…` : '';
}

class Timeline {
    constructor(profile) {
        this.profile = profile;
        this.canvas = html('canvas', {
            id: 'timeline-canvas',
            tabindex: 0,
            role: 'application',
            'aria-roledescription': 'timeline',
            'aria-label': 'Timeline of host and GPU',
            'aria-describedby': 'timeline-keys',
        });
        this.overview = html('canvas', { id: 'timeline-overview', 'aria-hidden': 'true' });
        this.details = html('div', { class: 'details', id: 'timeline-details', 'aria-live': 'polite' });
        this.readout = html('output', { class: 'readout' });
        this.selected = null;
        this.width = 0;
        this.load();
        this.transform = zoomIdentity;
        this.zoom = d3zoom()
            .filter((event) => this.wants(event))
            .on('zoom', (event) => {
                this.transform = event.transform;
                this.draw();
            });
        select(this.canvas).call(this.zoom).on('dblclick.zoom', null);
        this.listen();
    }

    // Colours are those of the scheme that is on, so the tracks are made again when it changes.
    load() {
        Object.assign(this, makeTracks(this.profile));
        this.height = layout(this.tracks);
        this.scheme = theme('ground');
    }

    // The wheel scrolls the page until the timeline has the focus; one finger scrolls it too, and pans by pointer events.
    wants(event) {
        if (event.type === 'wheel') {
            return event.ctrlKey || event.metaKey || document.activeElement === this.canvas;
        }
        return event.type.startsWith('touch') ? event.touches.length > 1 : !event.button;
    }

    get gutter() {
        return this.width < 600 ? 50 : 64;
    }

    get base() {
        return scaleLinear([0, this.end], [this.gutter, this.width]);
    }

    get scale() {
        return this.transform.rescaleX(this.base);
    }

    // A short run as a whole; of a long one the round of the first dispatches, or the first rounds.
    firstView() {
        const rounds = this.tracks.find((track) => track.name === 'Rounds')?.slices ?? [];
        if (rounds.length <= 12) {
            return [0, this.end];
        }
        const at = Math.max(
            0,
            rounds.findIndex((round) => round.end > (this.sampled[0]?.begin ?? 0)),
        );
        return [rounds[at].begin, rounds[at + 1]?.end ?? this.end];
    }

    resize(width) {
        const [begin, end] = this.width > 0 ? this.scale.domain() : this.firstView();
        if (this.scheme !== theme('ground')) {
            this.load();
            this.selected = null;
        }
        this.width = width;
        const area = [
            [this.gutter, 0],
            [width, this.height],
        ];
        this.zoom
            .extent(area)
            .translateExtent(area)
            .scaleExtent([1, Math.max(10, this.end / 2e-6)]);
        this.context = canvasContext(this.canvas, width, this.height);
        this.overviewContext = canvasContext(this.overview, width, OVERVIEW);
        this.show(begin, end);
    }

    show(begin, end) {
        const k = (this.width - this.gutter) / (this.base(end) - this.base(begin));
        select(this.canvas).call(
            this.zoom.transform,
            zoomIdentity.translate(this.gutter - k * this.base(begin), 0).scale(k),
        );
    }

    showSlice(slice, around = 0.04) {
        const margin = Math.max(slice.end - slice.begin, 1e-6) * around;
        this.show(Math.max(0, slice.begin - margin), Math.min(this.end, slice.end + margin));
    }

    zoomBy(factor) {
        select(this.canvas).call(this.zoom.scaleBy, factor);
    }

    panBy(part) {
        select(this.canvas).call(this.zoom.translateBy, -((this.width - this.gutter) * part) / this.transform.k, 0);
    }

    draw() {
        if (!this.context) {
            return;
        }
        const { context, scale, width, height } = this;
        context.fillStyle = theme('ground');
        context.fillRect(0, 0, width, height);
        context.font = FONT;
        context.textBaseline = 'middle';
        this.drawAxis(context, scale);
        context.save();
        context.beginPath();
        context.rect(this.gutter, 0, width - this.gutter, height);
        context.clip();
        this.tracks.forEach((track) => this.drawTrack(context, scale, track));
        context.restore();
        context.fillStyle = theme('muted');
        this.tracks.forEach((track) => context.fillText(track.name, 4, track.y + track.height / 2));
        this.drawOverview(scale);
        const [begin, end] = scale.domain();
        this.readout.textContent = `${seconds(Math.max(0, begin))} to ${seconds(end)}: ${seconds(end - begin)}`;
    }

    drawAxis(context, scale) {
        const [begin, end] = scale.domain();
        const [size, unit] = end - begin > 2 ? [1, 's'] : end - begin > 2e-3 ? [1e-3, 'ms'] : [1e-6, 'µs'];
        const ticks = scale.ticks(Math.max(3, Math.floor((this.width - this.gutter) / 110)));
        const step = ticks.length > 1 ? (ticks[1] - ticks[0]) / size : 1;
        const places = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
        for (const tick of ticks) {
            const x = Math.round(scale(tick)) + 0.5;
            context.strokeStyle = theme('line');
            context.beginPath();
            context.moveTo(x, AXIS - 6);
            context.lineTo(x, this.height);
            context.stroke();
            context.fillStyle = theme('muted');
            const text = `${(tick / size).toLocaleString('en', { minimumFractionDigits: places, maximumFractionDigits: places })} ${unit}`;
            const half = context.measureText(text).width / 2;
            context.fillText(text, Math.max(this.gutter, Math.min(x - half, this.width - 2 * half)), AXIS / 2 - 3);
        }
    }

    drawTrack(context, scale, track) {
        const [begin, end] = scale.domain();
        let done = -1; // the last pixel that has a slice: what is smaller than a pixel is drawn once
        for (const slice of track.slices) {
            if (slice.end < begin || slice.begin > end) {
                continue;
            }
            const left = Math.max(this.gutter - 2, scale(slice.begin));
            const right = Math.min(this.width + 2, scale(slice.end));
            const chosen = slice === this.selected;
            if (right <= done && !chosen) {
                continue;
            }
            const width = Math.max(1, right - left - (right - left > 3 ? 1 : 0));
            done = left + width;
            context.fillStyle = slice.colour;
            context.fillRect(left, track.y, width, track.height);
            if (width > 16) {
                const text = fitted(context, slice.label, width - 8, slice.short);
                context.fillStyle = inkOn(slice.colour);
                context.fillText(text, Math.max(left, this.gutter) + 4, track.y + track.height / 2 + 0.5);
            }
            if (chosen) {
                context.strokeStyle = theme('text');
                context.lineWidth = 2;
                context.strokeRect(left + 1, track.y + 1, Math.max(2, width - 2), track.height - 2);
                context.lineWidth = 1;
            }
        }
    }

    // The whole run: where the GPU was busy, where dispatches are known, and the part that is shown below.
    drawOverview(scale) {
        const { overviewContext: context, base } = this;
        context.fillStyle = theme('ground');
        context.fillRect(0, 0, this.width, OVERVIEW);
        const strip = (slices, y, height, colour) => {
            context.fillStyle = colour;
            slices.forEach((slice) =>
                context.fillRect(base(slice.begin), y, Math.max(0.5, base(slice.end) - base(slice.begin)), height),
            );
        };
        const named = (name) => this.tracks.find((track) => (track.spoken ?? track.name) === name)?.slices ?? [];
        strip(named('Rounds'), 3, 6, theme('enclosing'));
        strip(named('GPU'), 12, 6, theme('muted'));
        strip(named('Dispatches'), 21, 6, theme('accent'));
        const [left, right] = scale.domain().map(base);
        context.fillStyle = theme('window');
        context.fillRect(left, 0, Math.max(3, right - left), OVERVIEW);
        context.strokeStyle = theme('accent');
        context.strokeRect(left + 0.5, 0.5, Math.max(3, right - left) - 1, OVERVIEW - 1);
    }

    // The slice under a point of the canvas, or within a finger's or a pointer's width of it.
    at(x, y, reach = 3) {
        const track = this.tracks.find((one) => y >= one.y - 1 && y <= one.y + one.height + 1);
        if (!track || x < this.gutter) {
            return null;
        }
        const { scale } = this;
        let best = null;
        let distance = reach;
        for (const slice of track.slices) {
            const away = Math.max(scale(slice.begin) - x, x - scale(slice.end), 0);
            if (away < distance || (away === 0 && distance > 0)) {
                [best, distance] = [{ track, slice }, away];
            }
        }
        return best;
    }

    select(track, slice, title = slice.label) {
        this.selected = slice;
        this.track = track;
        this.details.replaceChildren(html('strong', {}, title), definitions(slice.details()));
        this.draw();
    }

    // Walks along a track, or to another one at the same time.
    walk(along, across) {
        if (!this.selected) {
            const track = this.tracks[this.tracks.length - 1];
            this.select(track, track.slices[0]);
        } else if (across !== 0) {
            const index = Math.max(0, Math.min(this.tracks.length - 1, this.tracks.indexOf(this.track) + across));
            const track = this.tracks[index];
            const middle = (this.selected.begin + this.selected.end) / 2;
            const away = (slice) => Math.max(slice.begin - middle, middle - slice.end, 0);
            this.select(
                track,
                track.slices.reduce((a, b) => (away(b) < away(a) ? b : a)),
            );
        } else {
            const { slices } = this.track;
            const index = Math.max(0, Math.min(slices.length - 1, slices.indexOf(this.selected) + along));
            this.select(this.track, slices[index]);
        }
        const [begin, end] = this.scale.domain();
        if (this.selected.begin < begin || this.selected.end > end) {
            const half = Math.max((end - begin) / 2, (this.selected.end - this.selected.begin) * 0.55);
            const middle = (this.selected.begin + this.selected.end) / 2;
            this.show(Math.max(0, middle - half), Math.min(this.end, middle + half));
        }
    }

    key(event) {
        const keys = {
            ArrowLeft: () => (event.shiftKey ? this.panBy(-0.25) : this.walk(-1, 0)),
            ArrowRight: () => (event.shiftKey ? this.panBy(0.25) : this.walk(1, 0)),
            ArrowUp: () => this.walk(0, -1),
            ArrowDown: () => this.walk(0, 1),
            '+': () => this.zoomBy(1.5),
            '=': () => this.zoomBy(1.5),
            '-': () => this.zoomBy(1 / 1.5),
            0: () => this.show(0, this.end),
            Enter: () => this.selected && this.showSlice(this.selected),
        };
        if (keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            keys[event.key]();
        }
    }

    listen() {
        const place = (event) => {
            const box = this.canvas.getBoundingClientRect();
            return [event.clientX - box.left, event.clientY - box.top, event.pointerType === 'touch' ? 12 : 3];
        };
        let finger = null;
        this.canvas.addEventListener('pointermove', (event) => {
            if (finger?.id === event.pointerId) {
                select(this.canvas).call(this.zoom.translateBy, (event.clientX - finger.x) / this.transform.k, 0);
                finger.x = event.clientX;
                return;
            }
            const found = event.buttons === 0 ? this.at(...place(event)) : null;
            this.canvas.classList.toggle('over', found !== null);
            if (found) {
                showTip(event.clientX, event.clientY, found.slice.label, found.slice.details());
            } else {
                hideTip();
            }
        });
        this.canvas.addEventListener('pointerdown', (event) => {
            hideTip();
            finger =
                event.pointerType === 'touch' && event.isPrimary ? { id: event.pointerId, x: event.clientX } : null;
        });
        for (const name of ['pointerup', 'pointercancel', 'pointerleave']) {
            this.canvas.addEventListener(name, () => {
                finger = null;
            });
        }
        this.canvas.addEventListener('pointerleave', hideTip);
        this.canvas.addEventListener('click', (event) => {
            this.canvas.focus({ preventScroll: true });
            const found = this.at(...place(event));
            if (found) {
                this.select(found.track, found.slice);
            }
        });
        this.canvas.addEventListener('dblclick', (event) => {
            const found = this.at(...place(event));
            if (found) {
                this.showSlice(found.slice);
            }
        });
        this.canvas.addEventListener('keydown', (event) => this.key(event));
        this.listenToOverview();
    }

    listenToOverview() {
        const jump = (event) => {
            if (event.buttons === 0) {
                return;
            }
            const x = event.clientX - this.overview.getBoundingClientRect().left;
            const [begin, end] = this.scale.domain();
            const middle = Math.max((end - begin) / 2, Math.min(this.end - (end - begin) / 2, this.base.invert(x)));
            this.show(middle - (end - begin) / 2, middle + (end - begin) / 2);
        };
        this.overview.addEventListener('pointerdown', (event) => {
            this.overview.setPointerCapture(event.pointerId);
            jump(event);
        });
        this.overview.addEventListener('pointermove', jump);
    }

    // Of spans in order of time, the one after or before what is shown; the first or last when all is shown.
    neighbour(spans, by) {
        const [begin, end] = this.scale.domain();
        const all = end - begin > 0.98 * this.end;
        const middle = all ? (by > 0 ? -1 : this.end + 1) : (begin + end) / 2;
        const ahead = by > 0 ? spans.find((one) => one.begin > middle) : spans.filter((one) => one.end < middle).pop();
        return ahead ?? spans[by > 0 ? spans.length - 1 : 0];
    }

    step(by) {
        const rounds = this.tracks.find((track) => track.name === 'Rounds');
        if (rounds) {
            const round = this.neighbour(rounds.slices, by);
            this.select(rounds, round);
            this.showSlice(round);
        }
    }

    // To a submission whose dispatches are known.
    stepSample(by) {
        this.showSlice(this.neighbour(this.sampled, by));
    }
}

function notes(profile, hasDispatches) {
    const { device, trace } = profile;
    const lines = [];
    if (device.timestamps === false) {
        lines.push('The device has no timestamps: what the GPU did is known by the host alone.');
    } else if (device.clock?.kind === 'none') {
        lines.push('Host and GPU have no common clock here: GPU times are laid where the host waited for them.');
    } else if (finite(device.clock?.error_us)) {
        lines.push(
            `GPU times are on the host's clock within ${number(device.clock.error_us, 2)} µs (${device.clock.kind}).`,
        );
    }
    if (hasDispatches && finite(trace.of) && finite(trace.submissions)) {
        lines.push(
            trace.submissions < trace.of
                ? `Sampled: dispatches of ${whole(trace.submissions)} of ${whole(trace.of)} submissions are shown.`
                : `Dispatches of all ${whole(trace.of)} submissions are shown.`,
        );
    }
    return lines.join(' ');
}

export function drawTimeline(profile) {
    const place = section('timeline');
    const timeline = new Timeline(profile);
    if (!(timeline.end > 0)) {
        place.append(note('This profile holds no times of submissions.'));
        return;
    }
    const button = (name, text, act) =>
        html('button', { type: 'button', 'aria-label': name, title: name, onclick: act }, text);
    const frame = html('div', { class: 'frame' }, timeline.overview, timeline.canvas);
    timeline.details.append(note('Point at a slice, tap it, or walk along the slices with the arrow keys.'));
    place.append(
        note(notes(profile, timeline.sampled.length > 0)),
        html(
            'div',
            { class: 'bar-of-tools' },
            html(
                'div',
                { class: 'choice', role: 'group', 'aria-label': 'Zoom' },
                button('Zoom out', '−', () => timeline.zoomBy(0.5)),
                button('Zoom in', '+', () => timeline.zoomBy(2)),
                button('Show the whole run', 'all', () => timeline.show(0, timeline.end)),
            ),
            html(
                'div',
                { class: 'choice', role: 'group', 'aria-label': 'Round' },
                button('Show the round before', '‹ round', () => timeline.step(-1)),
                button('Show the next round', 'round ›', () => timeline.step(1)),
            ),
            timeline.sampled.length > 0
                ? html(
                      'div',
                      { class: 'choice', role: 'group', 'aria-label': 'Submission whose dispatches are known' },
                      button('Show the dispatches before', '‹ dispatches', () => timeline.stepSample(-1)),
                      button('Show the next dispatches', 'dispatches ›', () => timeline.stepSample(1)),
                  )
                : null,
            timeline.readout,
        ),
        frame,
        timeline.details,
        html(
            'p',
            { class: 'note keys', id: 'timeline-keys' },
            'Drag or pinch to move and zoom; the wheel zooms after a click here, or with Ctrl. Keys: arrows walk, Shift and arrows ',
            'move, + and − zoom, 0 shows all, Enter zooms to the chosen slice. The numbers are in the table of rounds, too.',
        ),
    );
    onLayout(frame, (width) => timeline.resize(width));
}

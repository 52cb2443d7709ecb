// Slots over time: a row for each round, a column for each position of the response.
import { visible, whole } from './format.js';
import { canvasContext, definitions, hideTip, html, note, onLayout, section, showTip } from './dom.js';
import { theme } from './colours.js';

const FIRST_COLUMN = 46;
const HEAD = 18;

// By round and position: drafts and commits; by position: when it was decided or dropped.
function decode(profile) {
    const drafts = new Map();
    const decided = new Map();
    const dropped = new Map();
    let [rounds, positions] = [0, 0];
    for (const event of profile.events) {
        if (!(event.position >= 0) || !(event.round >= 0)) {
            continue;
        }
        const length = event.count > 0 ? event.count : 1;
        if (event.kind === 'finished') {
            continue; // it comes after the last round
        }
        rounds = Math.max(rounds, event.round + 1);
        positions = Math.max(positions, event.position + length);
        for (let position = event.position; position < event.position + length; position++) {
            const one = { round: event.round, token: event.token, text: event.text };
            if (event.kind === 'planned') {
                drafts.set(`${event.round}/${position}`, one);
            } else if (event.kind === 'committed') {
                decided.set(position, one);
            } else if (event.kind === 'dropped') {
                dropped.set(position, one);
            }
        }
    }
    return { drafts, decided, dropped, rounds, positions };
}

const quoted = (one) =>
    one
        ? `${one.text === undefined || one.text === null ? '' : `“${visible(one.text)}” `}(${one.token ?? 'no token'})`
        : null;

class Slots {
    constructor(profile) {
        Object.assign(this, decode(profile));
        this.slot = profile.settings.slot_size > 0 ? profile.settings.slot_size : 1;
        this.block = profile.settings.block > 0 ? profile.settings.block : 0;
        this.canvas = html('canvas', {
            id: 'slots-canvas',
            tabindex: 0,
            role: 'application',
            'aria-roledescription': 'grid of rounds and positions',
            'aria-label': `${this.rounds} rounds, ${this.positions} positions, ${this.decided.size} decided, ${this.dropped.size} dropped`,
            'aria-describedby': 'slots-keys',
        });
        this.details = html(
            'div',
            { class: 'details', id: 'slots-details', 'aria-live': 'polite' },
            note('Point at a cell, tap it, or walk with the arrow keys.'),
        );
        this.cursor = null;
        this.listen();
    }

    state(round, position) {
        const commit = this.decided.get(position);
        if (commit && commit.round <= round) {
            return commit.round === round ? 'decided' : 'known';
        }
        const drop = this.dropped.get(position);
        if (drop && drop.round <= round) {
            return 'dropped';
        }
        return this.drafts.has(`${round}/${position}`) ? 'drafted' : 'masked';
    }

    draw(width) {
        this.cell = Math.max(4, Math.min(18, Math.floor((width - FIRST_COLUMN) / this.positions)));
        // Browsers refuse canvases beyond 32767 pixels a side.
        this.cell = Math.max(1, Math.min(this.cell, Math.floor(15000 / this.positions)));
        this.row = Math.max(
            1,
            Math.min(Math.max(4, Math.min(18, Math.floor(400 / this.rounds))), Math.floor(15000 / this.rounds)),
        );
        this.wide = FIRST_COLUMN + this.positions * this.cell + 1;
        this.high = HEAD + this.rounds * this.row + 1;
        this.context = canvasContext(this.canvas, this.wide, this.high);
        this.paint();
    }

    paint() {
        const { context, cell, row } = this;
        context.fillStyle = theme('ground');
        context.fillRect(0, 0, this.wide, this.high);
        for (let round = 0; round < this.rounds; round++) {
            for (let position = 0; position < this.positions; position++) {
                this.paintCell(this.state(round, position), FIRST_COLUMN + position * cell, HEAD + round * row);
            }
        }
        this.paintScales();
        if (this.cursor) {
            context.strokeStyle = theme('text');
            context.lineWidth = 2;
            context.strokeRect(FIRST_COLUMN + this.cursor.position * cell, HEAD + this.cursor.round * row, cell, row);
            context.lineWidth = 1;
        }
    }

    // States differ in lightness and in form: full, quiet, outlined, struck out, empty.
    paintCell(state, x, y) {
        const { context, cell, row } = this;
        const [width, height] = [Math.max(1, cell - 1), Math.max(1, row - 1)];
        if (state === 'decided' || state === 'known' || cell < 4) {
            context.fillStyle = theme(`slot-${state}`);
            // What is settled is one quiet ground where cells are too small to be told apart.
            const gap = state === 'known' && cell < 8 ? 1 : 0;
            context.fillRect(x, y, width + gap, height + gap);
        } else if (state === 'drafted') {
            context.strokeStyle = theme('slot-drafted');
            context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
        } else if (state === 'dropped') {
            context.strokeStyle = theme('slot-dropped');
            context.beginPath();
            context.moveTo(x, y + height);
            context.lineTo(x + width, y);
            context.stroke();
        } else {
            context.fillStyle = theme('slot-masked');
            context.fillRect(x + width / 2 - 0.5, y + height / 2 - 0.5, 1, 1);
        }
    }

    paintScales() {
        const { context, cell, row } = this;
        context.fillStyle = theme('muted');
        context.font = '11px system-ui, sans-serif';
        context.textBaseline = 'middle';
        const everyRow = Math.max(1, Math.ceil(14 / row));
        const step = [1, 2, 5, 10, 20, 25, 50, 100].find((value) => value >= everyRow) ?? everyRow;
        for (let round = 0; round < this.rounds; round += step) {
            context.fillText(String(round), 12, HEAD + round * row + row / 2);
        }
        const slots = Math.max(1, Math.ceil(44 / (cell * this.slot)));
        for (let position = 0; position < this.positions; position += slots * this.slot) {
            context.fillText(String(position), FIRST_COLUMN + position * cell, HEAD / 2);
        }
        for (let position = 0; position <= this.positions; position += this.slot) {
            const block = this.block > 0 && position % this.block === 0;
            if (this.slot * cell >= 8 || block) {
                context.fillStyle = theme(block ? 'muted' : 'line');
                context.fillRect(FIRST_COLUMN + position * cell - 1, HEAD, 1, this.high - HEAD);
            }
        }
    }

    pairs(round, position) {
        const draft = this.drafts.get(`${round}/${position}`);
        const commit = this.decided.get(position);
        const drop = this.dropped.get(position);
        const words = {
            decided: 'decided in this round',
            known: `decided in round ${commit?.round}`,
            dropped: `dropped in round ${drop?.round}`,
            drafted: 'drafted, and not kept in this round',
            masked: 'masked',
        };
        return [
            ['round', whole(round)],
            ['position', whole(position)],
            ['slot', whole(Math.floor(position / this.slot))],
            ['state', words[this.state(round, position)]],
            ['draft of this round', quoted(draft)],
            ['decided', quoted(commit)],
        ];
    }

    at(event) {
        const box = this.canvas.getBoundingClientRect();
        const position = Math.floor((event.clientX - box.left - FIRST_COLUMN) / this.cell);
        const round = Math.floor((event.clientY - box.top - HEAD) / this.row);
        return position >= 0 && position < this.positions && round >= 0 && round < this.rounds
            ? { round, position }
            : null;
    }

    choose(cell) {
        this.cursor = cell;
        this.details.replaceChildren(
            html('strong', {}, `Round ${cell.round}, position ${cell.position}`),
            definitions(this.pairs(cell.round, cell.position).slice(2)),
        );
        this.paint();
        this.reveal(cell);
    }

    // Scrolls no further than it must for the cell to be seen.
    reveal({ round, position }) {
        const scroll = this.canvas.parentElement;
        const [x, y] = [FIRST_COLUMN + position * this.cell, HEAD + round * this.row];
        scroll.scrollLeft = Math.max(
            Math.min(scroll.scrollLeft, x - FIRST_COLUMN),
            x + this.cell - scroll.clientWidth + 2,
        );
        scroll.scrollTop = Math.max(Math.min(scroll.scrollTop, y - HEAD), y + this.row - scroll.clientHeight + 2);
    }

    listen() {
        this.canvas.addEventListener('pointermove', (event) => {
            const cell = this.at(event);
            if (cell) {
                showTip(
                    event.clientX,
                    event.clientY,
                    `Round ${cell.round}, position ${cell.position}`,
                    this.pairs(cell.round, cell.position).slice(2),
                );
            } else {
                hideTip();
            }
        });
        this.canvas.addEventListener('pointerleave', hideTip);
        this.canvas.addEventListener('click', (event) => {
            const cell = this.at(event);
            if (cell) {
                this.choose(cell);
            }
        });
        this.canvas.addEventListener('keydown', (event) => {
            const [across, down] =
                { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
            if (across === undefined) {
                return;
            }
            event.preventDefault();
            const from = this.cursor ?? { round: -down, position: -across };
            this.choose({
                round: Math.max(0, Math.min(this.rounds - 1, from.round + down)),
                position: Math.max(0, Math.min(this.positions - 1, from.position + across)),
            });
        });
    }

    // The response as text; what one round decided has one ground.
    text() {
        const known = [...this.decided].sort(([a], [b]) => a - b);
        return html(
            'p',
            { class: 'response', id: 'slots-text' },
            known
                .map(([position, one], index) => {
                    const before =
                        index > 0 && known[index - 1][0] !== position - 1 ? html('span', { class: 'hole' }, '…') : null;
                    const span = html(
                        'span',
                        {
                            class: `token tone-${one.round % 4}`,
                            onpointermove: (event) =>
                                showTip(event.clientX, event.clientY, `Position ${position}`, [
                                    ['decided in round', whole(one.round)],
                                    ['slot', whole(Math.floor(position / this.slot))],
                                    ['token', quoted(one)],
                                ]),
                            onpointerleave: hideTip,
                        },
                        one.text ?? `[${one.token ?? '?'}]`,
                    );
                    return [before, span];
                })
                .flat(),
        );
    }
}

export function drawSlots(profile) {
    const place = section('slots');
    const slots = new Slots(profile);
    if (slots.positions === 0) {
        place.append(note('This profile holds no events of decoding.'));
        return;
    }
    const scroll = html('div', { class: 'scroll tall', tabindex: -1 }, slots.canvas);
    const keys = [
        ['decided', 'decided in this round'],
        ['known', 'decided before'],
        ['drafted', 'drafted, not kept'],
        ['dropped', 'dropped'],
        ['masked', 'masked'],
    ];
    place.append(
        note('Each row is a round, each column a position of the response; fine lines part the slots.'),
        html(
            'ul',
            { class: 'legend' },
            keys.map(([state, text]) => html('li', {}, html('i', { class: `swatch slot-${state}` }), text)),
        ),
        scroll,
        slots.details,
        html('p', { class: 'note keys', id: 'slots-keys' }, 'Arrow keys walk over the cells.'),
        html('h3', {}, 'The response, shaded by the round that decided each token'),
        slots.text(),
    );
    onLayout(place, (width) => slots.draw(width));
}

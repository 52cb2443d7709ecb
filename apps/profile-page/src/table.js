// Tables that sort by a click on a heading. A column: { name, value(row), text(value, row), left, bar, hint }.
import { html } from './dom.js';
import { finite, NONE, number, percent, timeUnit, whole } from './format.js';

export const column = {
    text: (name, value, hint) => ({ name, value, left: true, hint, text: (v) => v ?? NONE }),
    whole: (name, value, hint) => ({ name, value, hint, text: whole }),
    number: (name, value, hint) => ({ name, value, hint, text: (v) => number(v) }),
    // Of 0..1, with a bar behind it.
    share: (name, value, hint) => ({
        name,
        value,
        hint,
        bar: true,
        text: (v) => (finite(v) ? percent(100 * v) : NONE),
    }),
    percent: (name, value, hint) => ({ name, value, hint, text: (v) => percent(v) }),
    // Seconds, all of a column in one unit.
    time: (name, value, rows, hint) => {
        const [size, unit] = timeUnit(rows.map(value));
        return { name: `${name} ${unit}`, value, hint, text: (v) => (finite(v) ? number(v / size) : NONE) };
    },
};

// What the host does for a submission, one after the other.
export const hostTimes = (rows) =>
    ['record', 'submit', 'wait', 'read'].map((name) => column.time(name, (row) => row[name], rows, 'Host'));

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

// Missing values come last, whichever way the others go.
export function sorted(rows, value, descending) {
    const compare = (a, b) =>
        typeof a === 'number' && typeof b === 'number'
            ? a - b
            : String(a).localeCompare(String(b), 'en', { numeric: true });
    return [...rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (missing(x) || missing(y)) {
            return missing(x) - missing(y);
        }
        return descending ? compare(y, x) : compare(x, y);
    });
}

function cell(one, row, most, first) {
    const value = one.value(row);
    const element = html(
        first ? 'th' : 'td',
        {
            class: one.left ? 'left' : null,
            scope: first ? 'row' : null,
            'data-value': missing(value) ? '' : value,
            title: one.left && String(value).length > 30 ? value : null,
        },
        one.text(value, row),
    );
    if (one.bar && finite(value) && most > 0) {
        element.classList.add('bar');
        element.style.setProperty('--part', `${(100 * value) / most}%`);
    }
    return element;
}

// `sort`: [index of a column, descending]; columns without a value in any row are left out.
export function table(id, caption, columns, rows, sort) {
    const used = columns.filter((one, index) => index === 0 || rows.some((row) => !missing(one.value(row))));
    let [by, descending] = [used.indexOf(columns[sort?.[0] ?? 0]), sort?.[1] ?? false];
    const most = used.map((one) => (one.bar ? Math.max(...rows.map(one.value).filter(finite), 0) : 0));
    const body = html('tbody');
    const headings = used.map((one, index) =>
        html(
            'th',
            { scope: 'col', class: one.left ? 'left' : null },
            html('button', { type: 'button', title: one.hint, onclick: () => choose(index) }, one.name),
        ),
    );

    function fill() {
        const order = by < 0 ? rows : sorted(rows, used[by].value, descending);
        body.replaceChildren(
            ...order.map((row) =>
                html(
                    'tr',
                    {},
                    used.map((one, i) => cell(one, row, most[i], i === 0)),
                ),
            ),
        );
        headings.forEach((heading, index) => {
            heading.setAttribute('aria-sort', index !== by ? 'none' : descending ? 'descending' : 'ascending');
        });
    }
    // Numbers begin with the largest, text with the first; a second click turns the order round.
    function choose(index) {
        descending = index === by ? !descending : !used[index].left;
        by = index;
        fill();
    }
    fill();
    return html(
        'div',
        { class: 'table', id },
        html('h3', { id: `${id}-heading` }, caption, ' ', html('span', { class: 'count' }, whole(rows.length))),
        html(
            'div',
            { class: 'scroll', tabindex: 0, role: 'region', 'aria-labelledby': `${id}-heading` },
            html('table', {}, html('thead', {}, html('tr', {}, headings)), body),
        ),
    );
}

// Building elements, and the one tooltip of the page.
const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === null || value === undefined || value === false) {
            continue;
        }
        if (name.startsWith('on')) {
            element.addEventListener(name.slice(2), value);
        } else {
            element.setAttribute(name, value === true ? '' : value);
        }
    }
    // Text becomes text nodes, never markup: names and tokens come from files.
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
}

export const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const section = (id) => document.getElementById(id);

// Pairs of name and value as a definition list; pairs without a value are left out.
export function definitions(pairs, className) {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
    return html(
        'dl',
        { class: className },
        shown.map(([name, value]) => html('div', {}, html('dt', {}, name), html('dd', {}, value))),
    );
}

const tip = html('div', { class: 'tip', role: 'tooltip', id: 'tip', hidden: true });
document.body.append(tip);

// Shows `title` and pairs beside a point of the window, on the side where there is room.
export function showTip(x, y, title, pairs) {
    tip.replaceChildren(html('strong', {}, title), definitions(pairs));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const right = x + 14 + width < innerWidth ? x + 14 : x - 14 - width;
    const below = y + 14 + height < innerHeight ? y + 14 : y - 14 - height;
    tip.style.left = `${Math.max(4, Math.min(right, innerWidth - width - 4))}px`;
    tip.style.top = `${Math.max(4, below)}px`;
}

export function hideTip() {
    tip.hidden = true;
}

addEventListener('scroll', hideTip, { passive: true });
addEventListener('keydown', (event) => event.key === 'Escape' && hideTip());

// A group of buttons of which one is pressed.
export function choice(label, options, chosen, onchoose) {
    const buttons = options.map(([value, text]) =>
        html(
            'button',
            {
                type: 'button',
                'aria-pressed': String(value === chosen),
                onclick: (event) => {
                    buttons.forEach((button) =>
                        button.setAttribute('aria-pressed', String(button === event.currentTarget)),
                    );
                    onchoose(value);
                },
            },
            text,
        ),
    );
    return html('div', { class: 'choice', role: 'group', 'aria-label': label }, buttons);
}

export const note = (...children) => html('p', { class: 'note' }, ...children);

// Calls draw(width) now and whenever the element's width or the colour scheme changes.
export function onLayout(element, draw) {
    let width = 0;
    const redraw = () => width > 0 && draw(width);
    new ResizeObserver(([entry]) => {
        const now = Math.floor(entry.contentRect.width);
        if (now !== width) {
            width = now;
            redraw();
        }
    }).observe(element);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
}

// A canvas context in CSS pixels. Browsers refuse very large canvases: those get fewer device pixels.
export function canvasContext(canvas, width, height) {
    const ratio = Math.min(devicePixelRatio || 1, 16000 / Math.max(width, height, 1));
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext('2d');
    context.scale(ratio, ratio);
    return context;
}

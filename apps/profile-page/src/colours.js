// Colours by kind of work, after Okabe and Ito: told apart with every common kind of colour blindness. They are the same
// in both schemes; what carries text on them takes black or white, whichever is easier to read.
const KINDS = [
    ['norm', /norm|rope/, '#cc79a7'],
    ['qkv', /qkv|^[qkv]$/, '#0072b2'],
    ['attention', /attention|attn/, '#009e73'],
    ['gate/up', /gate|swiglu|(^|\W)up/, '#e69f00'],
    ['down', /down/, '#d55e00'],
    ['logits', /logit|head|vocab/, '#f0e442'],
    ['o', /^o$|^o_|out/, '#56b4e9'],
];
const OTHER = '#9aa0a6';

export const opColour = (op) => KINDS.find(([, pattern]) => pattern.test(String(op).toLowerCase()))?.[2] ?? OTHER;

const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

// "#rrggbb" or "rgb(r, g, b)" -> [r, g, b] of 0..255
export function parts(colour) {
    const hex = /^#(..)(..)(..)$/.exec(colour);
    return hex
        ? hex.slice(1).map((two) => parseInt(two, 16))
        : colour
              .match(/[\d.]+/g)
              .slice(0, 3)
              .map(Number);
}

// Black or white, whichever has more contrast on the colour (WCAG's relative luminance).
export function inkOn(colour) {
    const [r, g, b] = parts(colour).map((value) => channel(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000000' : '#ffffff';
}

// A custom property of page.css, in the scheme that is on.
export const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

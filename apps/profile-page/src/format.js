// Numbers as people read them. What is not a finite number is a dash: profiles leave out what a device cannot tell.
export const NONE = '–';
export const finite = (value) => typeof value === 'number' && Number.isFinite(value);

// `digits` significant digits, no exponent.
export function number(value, digits = 3) {
    if (!finite(value)) {
        return NONE;
    }
    const rounded = Number(value.toPrecision(digits)); // 9.996 has the magnitude of 10.0
    const magnitude = rounded === 0 ? 0 : Math.floor(Math.log10(Math.abs(rounded)));
    const places = rounded === 0 ? 0 : Math.max(0, Math.min(9, digits - 1 - magnitude));
    return value.toLocaleString('en', { minimumFractionDigits: places, maximumFractionDigits: places });
}

export const whole = (value) => (finite(value) ? Math.round(value).toLocaleString('en') : NONE);
// What is there never reads as nothing.
export function percent(value, digits = 1) {
    if (!finite(value)) {
        return NONE;
    }
    const least = 10 ** -digits;
    return value > 0 && value < least / 2 ? `< ${least.toFixed(digits)} %` : `${value.toFixed(digits)} %`;
}

const scaled =
    (steps) =>
    (value, digits = 3) => {
        if (!finite(value)) {
            return NONE;
        }
        const [size, unit] = steps.find(([least]) => Math.abs(value) >= least) ?? steps[steps.length - 1];
        return `${number(value / size, digits)} ${unit}`.trim();
    };

const TIMES = [
    [1, 's'],
    [1e-3, 'ms'],
    [1e-6, 'µs'],
    [1e-9, 'ns'],
];
export const seconds = (value, digits) => (value === 0 ? '0 s' : scaled(TIMES)(value, digits));
export const bytes = scaled([
    [1e9, 'GB'],
    [1e6, 'MB'],
    [1e3, 'kB'],
    [1, 'B'],
]);
export const count = scaled([
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
    [1, ''],
]);

// The unit in which a whole column of times is told: the smallest that leaves its largest under 100,000.
export function timeUnit(values) {
    const most = Math.max(0, ...values.filter(finite).map(Math.abs));
    return most > 0 ? ([...TIMES].reverse().find(([size]) => most < 1e5 * size) ?? TIMES[0]) : TIMES[1];
}

// Text of tokens: spaces and what cannot be seen made visible.
const VISIBLE = { ' ': '␣', '\n': '⏎', '\t': '⇥', '\r': '␍' };
export const visible = (text) => text.replace(/[ \n\t\r]/g, (character) => VISIBLE[character]);

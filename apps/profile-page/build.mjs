// Bundles page.html, page.css and src/ into one HTML file: node build.mjs MODULES OUTPUT
// MODULES is the node_modules folder that scripts/build-profile-page.sh has filled. The result depends on nothing but
// the sources and the locked packages, so that a test can compare it with the committed file byte by byte.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const [modules, output] = process.argv.slice(2).map((path) => resolve(path));
if (!modules || !output) {
    console.error('usage: node build.mjs MODULES OUTPUT');
    process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const esbuild = createRequire(join(modules, 'package.json'))('esbuild');

async function bundle(entry) {
    const result = await esbuild.build({
        absWorkingDir: here,
        entryPoints: [entry],
        bundle: true,
        minify: true,
        write: false,
        metafile: true,
        format: 'iife',
        target: ['es2020', 'chrome100', 'firefox100', 'safari15'],
        charset: 'ascii',
        legalComments: 'none',
        nodePaths: [modules],
        logLevel: 'warning',
    });
    const text = result.outputFiles[0].text.trim();
    // What would end the element early.
    if (/<\/(script|style)|<!--/i.test(text)) {
        throw new Error(`${entry}: the bundle holds "</script", "</style" or "<!--"`);
    }
    return { text, inputs: Object.keys(result.metafile.inputs) };
}

// The licence texts of the packages whose code is in the bundle; the same text is told once.
function licences(inputs) {
    const texts = new Map();
    for (const name of new Set(inputs.map((path) => /node_modules\/([^/]+)\//.exec(path)?.[1]).filter(Boolean))) {
        const { version } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
        const file = join(modules, name, 'LICENSE');
        if (!existsSync(file)) {
            throw new Error(`${name} ${version} has no LICENSE`);
        }
        const text = readFileSync(file, 'utf8').trim().replaceAll('--', '- -');
        texts.set(text, [...(texts.get(text) ?? []), `${name} ${version}`]);
    }
    return [...texts]
        .map(([text, names]) => `${names.sort().join(', ')}\n\n${text}`)
        .sort()
        .join('\n\n');
}

function fill(page, mark, text) {
    const parts = page.split(mark);
    if (parts.length !== 2) {
        throw new Error(`page.html: ${mark} is there ${parts.length - 1} times, wanted once`);
    }
    return parts.join(text);
}

const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const script = await bundle('src/main.js');
const style = await bundle('page.css');
let page = readFileSync(join(here, 'page.html'), 'utf8');
page = fill(page, '/*style*/', style.text);
page = fill(page, '/*script*/', script.text);
page = fill(page, '{script-hash}', hash(script.text));
page = fill(page, '{style-hash}', hash(style.text));
page = fill(page, '{licences}', licences(script.inputs));
if (page.split('<!--profile-->').length !== 2) {
    throw new Error('page.html: wanted <!--profile--> once, where the data goes');
}
writeFileSync(output, page);

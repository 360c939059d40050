// text.mjs - a message's words and characters, its code and its links, as its activity row has them. With
// SEGMENT=0 words and characters are only split and counted, without Unicode's rules.
const BLOCKS = /```(?:.|\n)+?\n```|`[^\n]+?`|\[([^\]]*)\]\(([^)]*)\)|https?:\/\/[^\s>)]+/g;
const words = new Intl.Segmenter('en-us', { granularity: 'word' });
const characters = new Intl.Segmenter('en-us', { granularity: 'grapheme' });

function count(text) {
    if (process.env.SEGMENT === '0')
        return { words: text.split(/\s+/).filter(Boolean).length, chars: text.length };
    let n = 0, chars = 0;
    for (const segment of words.segment(text))
        n += segment.isWordLike ? 1 : 0;
    for (const _ of characters.segment(text))
        chars++;
    return { words: n, chars };
}

function code(block) {
    if (!block.startsWith('```'))
        return { ...count(block.slice(1, -1)), lines: 1 };
    const [lang, ...lines] = block.slice(3, -4).split('\n');
    return { ...count(lines.join('\n')), lines: lines.length, lang };
}

export function measure(content) {
    const found = { words: 0, chars: 0, code: [], links: [] };
    const add = text => {
        const { words: w, chars } = count(text);
        found.words += w;
        found.chars += chars;
    };
    let from = 0;
    for (const match of content.matchAll(BLOCKS)) {
        if (match.index > from)
            add(content.slice(from, match.index));
        from = match.index + match[0].length;
        if (match[0].startsWith('`')) {
            found.code.push(code(match[0]));
        } else if (match[2] !== undefined) {
            add(match[1]);
            found.links.push(match[2]);
        } else {
            found.links.push(match[0]);
        }
    }
    if (from < content.length)
        add(content.slice(from));
    return found;
}

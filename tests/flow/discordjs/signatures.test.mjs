// Our check of signatures says what others' say: Node's crypto, WebCrypto and discord-interactions, on the vectors of
// RFC 8032, on malleable signatures (S + L), on keys and on R of small and of mixed order, in odd encodings.
//
// signatures.json was made with @noble/curves. Where an equation of Ed25519 can be read in two ways (a key or an R with a
// part of small order), implementations differ; these all check [S]B = R + [h]A without the cofactor.
import test from 'node:test';
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { verifyKey } from 'discord-interactions';

const LIMIT = { timeout: 60000 };
const vectors = JSON.parse(fs.readFileSync(new URL('signatures.json', import.meta.url)));

async function ours(list) {
    const child = spawn(path.join(process.env.BIN, 'sign_check'), { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(list.map(v => `${v.key} ${v.signature} ${v.message}\n`).join(''));
    let text = '';
    for await (const chunk of child.stdout)
        text += chunk;
    return text.trim().split('\n');
}

function nodes({ key, signature, message }) {
    try {
        const prefix = Buffer.from('302a300506032b6570032100', 'hex'); // SubjectPublicKeyInfo of Ed25519
        const object = crypto.createPublicKey({ key: Buffer.concat([prefix, Buffer.from(key, 'hex')]), format: 'der', type: 'spki' });
        return crypto.verify(null, Buffer.from(message, 'hex'), object, Buffer.from(signature, 'hex'));
    } catch {
        return false;
    }
}

// It joins timestamp and body, as Discord signs them.
const theirs = ({ key, signature, message }) => verifyKey(Buffer.from(message, 'hex'), signature, '', key).catch(() => false);

test('all agree on every vector', LIMIT, async () => {
    const verdicts = await ours(vectors);
    assert.equal(verdicts.length, vectors.length);
    const counts = { true: 0, false: 0 };
    for (const [i, vector] of vectors.entries()) {
        const verdict = verdicts[i] === 'true';
        counts[verdict]++;
        assert.equal(verdict, nodes(vector), `Node's crypto: ${vector.name}`);
        assert.equal(verdict, await theirs(vector), `discord-interactions: ${vector.name}`);
    }
    assert.ok(counts.true > 5 && counts.false > 30, JSON.stringify(counts));
});

test('the RFC holds, malleable and forged ones do not', LIMIT, async () => {
    const verdicts = await ours(vectors);
    const verdict = name => verdicts[vectors.findIndex(v => v.name === name)];
    for (const name of ['RFC 8032 TEST 1', 'RFC 8032 TEST 2', 'RFC 8032 TEST 3', 'RFC 8032 TEST SHA(abc)', 'an ordinary one'])
        assert.equal(verdict(name), 'true', name);
    for (const { name } of vectors.filter(v => /^(S \+|S =|a bit of|the highest bit)/.test(v.name)))
        assert.notEqual(verdict(name), 'true', name);
});

test('what is no hex of the right length is no signature', LIMIT, async () => {
    const good = vectors.find(v => v.name === 'an ordinary one');
    const odd = [good.signature.slice(2), `${good.signature}00`, `${good.signature.slice(0, 127)}g`, '', `0x${good.signature.slice(2)}`,
        good.signature.replace(/.$/, '\u0130')];
    assert.deepEqual(await ours(odd.map(signature => ({ ...good, signature }))), odd.map(() => 'false'));
    assert.deepEqual(await ours([{ ...good, signature: good.signature.toUpperCase() }]), ['true']);
    assert.deepEqual(await ours([{ ...good, key: good.key.slice(2) }]), ['no key']);
});

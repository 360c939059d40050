// The gateway as bytes on a WebSocket: close codes, limits, compression.
import test from 'node:test';
import assert from 'node:assert/strict';
import zlib from 'node:zlib';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { Simulator, TOKEN, until } from './simulator.mjs';

const LIMIT = { timeout: 60000 };
const identify = { op: 2, d: { token: TOKEN, properties: {}, intents: 513, shard: [0, 1] } };

async function connect(sim, query = 'v=10&encoding=json') {
    const socket = new WebSocket(`${sim.api.replace(/^http/, 'ws').replace(/\/api$/, '')}/?${query}`);
    const frames = [];
    socket.on('message', (data, isBinary) => frames.push(isBinary ? data : JSON.parse(data)));
    socket.on('error', () => {});
    const closed = once(socket, 'close').then(([code]) => code);
    await once(socket, 'open');
    return { socket, frames, closed };
}

test('what a client does wrong is closed with the right code', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1' });
    t.after(() => sim.stop());
    const cases = [
        ['nonsense', 4002], [Buffer.from([131, 100, 0, 1]), 4002], ['{"op":1,"d":"' + 'x'.repeat(4096) + '"}', 4002],
        ['{"op":77}', 4001], ['{"op":3,"d":{}}', 4003], [JSON.stringify({ op: 2, d: { ...identify.d, token: 'x' } }), 4004],
        [JSON.stringify({ op: 2, d: { ...identify.d, shard: [1, 1] } }), 4010],
        [JSON.stringify({ op: 2, d: { ...identify.d, intents: 1 << 30 } }), 4013],
    ];
    for (const [said, code] of cases) {
        const { socket, frames, closed } = await connect(sim);
        socket.send(said);
        assert.equal(await closed, code, String(said).slice(0, 80));
        assert.equal(frames[0].op, 10);
    }
    for (const query of ['v=8&encoding=json', 'v=10&encoding=etf', 'v=10&encoding=json&compress=zstd-stream'])
        assert.equal(await (await connect(sim, query)).closed, 4012, query);
});

test('120 payloads a minute are read, the next one closes', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1' });
    t.after(() => sim.stop());
    const { socket, frames, closed } = await connect(sim);
    for (let n = 0; n < 121; n++)
        socket.send('{"op":1,"d":null}');
    assert.equal(await closed, 4008);
    assert.equal(frames.filter(f => f.op === 11).length, 120);
});

test('zlib-stream: one stream, each payload ends with a flush', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '3' });
    t.after(() => sim.stop());
    const { socket, frames } = await connect(sim, 'v=10&encoding=json&compress=zlib-stream');
    const inflate = zlib.createInflate({ flush: zlib.constants.Z_SYNC_FLUSH });
    let text = '';
    inflate.on('data', data => { text += data; });
    socket.send(JSON.stringify(identify));
    await until(() => frames.length >= 5); // HELLO, READY, three guilds
    for (const frame of frames) {
        assert.deepEqual([...frame.subarray(-4)], [0, 0, 0xff, 0xff]);
        inflate.write(frame);
    }
    await until(() => text.includes('"s":4,'));
    await new Promise(done => inflate.flush(done));
    const payloads = JSON.parse(`[${text.replaceAll('}{"t":', '},{"t":')}]`);
    assert.deepEqual(payloads.map(p => p.t), [null, 'READY', 'GUILD_CREATE', 'GUILD_CREATE', 'GUILD_CREATE']);
    socket.close(1000);
});

test('two sessions of one shard each get every event', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1', SIM_IDENTIFY_WINDOW_MS: '0' });
    t.after(() => sim.stop());
    const both = [await connect(sim), await connect(sim)];
    both.forEach(({ socket }) => socket.send(JSON.stringify(identify)));
    await until(() => both.every(({ frames }) => frames.some(f => f.t === 'GUILD_CREATE')));
    const [guild] = await sim.get('/guilds');
    await sim.post('/message', { guild_id: guild.id, content: 'for both' });
    await until(() => both.every(({ frames }) => frames.some(f => f.t === 'MESSAGE_CREATE')));
    // Without the intent for content there is none.
    for (const { frames } of both)
        assert.equal(frames.find(f => f.t === 'MESSAGE_CREATE').d.content, '');
    both.forEach(({ socket }) => socket.terminate());
    await until(async () => (await sim.get('/state')).gateway.live === 0);
    assert.equal((await sim.get('/state')).gateway.sessions, 2);
});

test('noise of all kinds leaves it standing', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '2', SIM_IDENTIFY_WINDOW_MS: '0' });
    t.after(() => sim.stop());
    let seed = 1;
    const random = n => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
    const values = [null, true, -1, 1e300, 2 ** 53, 'x', '', [], {}, [0, 1], [[]], { token: TOKEN }, { session_id: 5, seq: 'a' }];
    for (let n = 0; n < 150; n++) {
        const { socket, closed } = await connect(sim);
        if (random(2))
            socket.send(JSON.stringify(identify));
        for (let k = random(6); k > 0; k--) {
            const d = { ...identify.d, [['token', 'shard', 'intents', 'seq', 'session_id', 'guild_id', 'user_ids', 'query'][random(8)]]: values[random(values.length)] };
            socket.send(JSON.stringify({ op: [1, 2, 3, 4, 6, 8, 9, 31][random(8)], d: random(3) ? d : values[random(values.length)] }));
        }
        random(2) ? socket.terminate() : socket.close(4000);
        await closed;
    }
    for (const path of ['/api/v10/guilds/%00', '/api/v10/channels/99999999999999999999999/messages', '/api//', '/api/v', '/%2e%2e/x'])
        await fetch(sim.api.replace(/\/api$/, '') + path).then(r => r.text());
    assert.equal((await sim.get('/state')).guilds, 2);
});

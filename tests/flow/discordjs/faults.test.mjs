// What goes wrong in REST costs our gateway no message and doubles none: a report is written to the moderators' log once.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import assert from 'node:assert/strict';
import { drivers } from './drivers.mjs';
import { Simulator, until } from './simulator.mjs';

const LIMIT = { timeout: 120000 };
const gateway = drivers.find(d => d.name === 'guildbus-gateway');

const faults = [
    { how: 'limit', scope: 'user', ms: 700 }, { how: 'limit', scope: 'shared', ms: 700 }, { how: 'limit', scope: 'global', ms: 700 },
    { how: 'status', status: 500 }, { how: 'status', status: 502, body: '<html>Bad Gateway</html>' }, { how: 'cut' }, { how: 'lose' },
    { how: 'delay', ms: 1500 },
];

class Place {
    constructor(sim, guild) { Object.assign(this, { sim, guild }); }
    ask(kind, user, more = {}) { return this.sim.post('/interaction', { kind, guild_id: this.guild.id, user_id: user, ...more }); }
    async written() { return (await this.sim.get('/report')).guilds[0].bot_messages; }
    // Until nothing is written any more: how many messages that were.
    async settle(from) {
        let last = -1;
        return until(async () => {
            const now = await this.written() - from, calls = (await this.sim.get('/state')).rest.requests;
            const quiet = now > 0 && `${now} ${calls}` === last;
            last = `${now} ${calls}`;
            return quiet && now;
        }, 1200);
    }
    async report() {
        const [author, reporter] = this.guild.member_ids;
        const { id } = await this.sim.post('/message', { guild_id: this.guild.id, author_id: author, content: `otter ${Math.random()}` });
        const answer = await this.ask('Report', reporter, { target: id });
        assert.equal(answer.fate, 'answered', JSON.stringify(answer));
    }
}

test('REST faults', { ...LIMIT, timeout: 300000, skip: gateway.missing ?? false }, async t => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'guildbus-witness-'));
    const sim = await Simulator.start({ SIM_GUILDS: '1' });
    const client = gateway.make(sim, folder);
    t.after(async () => {
        await client.finish();
        await sim.stop();
        fs.rmSync(folder, { recursive: true, force: true });
    });
    await client.start();
    await until(async () => (await sim.get('/gateway')).sessions.some(s => s.connected));
    const place = new Place(sim, (await sim.get('/guilds'))[0]);
    const options = [{ name: 'modlog', type: 7, value: place.guild.mod_log_id }, { name: 'moderator', type: 8, value: place.guild.moderator_role_id }];
    await place.ask('setup', place.guild.owner_id, { data: { id: '1', name: 'setup', type: 1, options } });

    let from = await place.written();
    await place.report(); // the first one makes the thread of its author
    await place.settle(from);
    from = await place.written();
    await place.report();
    const usual = await place.settle(from);
    assert.ok(usual > 0);

    for (const fault of faults)
        await t.test(JSON.stringify(fault), LIMIT, async () => {
            await sim.call('DELETE', '/rest-faults');
            await sim.post('/rest-faults', { ...fault, method: 'POST', path: '/channels/*/messages', times: 2 });
            const before = await place.written(), { limited_again: early } = (await sim.get('/state')).rest;
            await place.report();
            assert.equal(await place.settle(before), usual);
            const { hits } = (await sim.get('/rest-faults'))[0];
            assert.equal(hits, 2);
            assert.equal((await sim.get('/state')).rest.limited_again, early, 'it did not wait as long as it was told');
        });
    await t.test('404 right after a deferral: it is tried again', LIMIT, async () => {
        await sim.call('DELETE', '/rest-faults');
        const { id } = await sim.post('/message', { guild_id: place.guild.id, author_id: place.guild.member_ids[0], content: 'otter, tracked' });
        const tracked = await place.ask('Track', place.guild.moderator_id, { target: id });
        const [{ custom_id }] = tracked.body.data.components.flatMap(row => row.components).filter(b => b.custom_id);
        await place.settle(await place.written() - 1);
        await sim.post('/rest-faults', { how: 'status', status: 404, code: 10015, method: 'PATCH', path: '/webhooks/*/messages/@original', times: 3 });
        const pressed = await place.ask('component', place.guild.moderator_id, { custom_id, message_id: tracked.original.id });
        assert.notEqual(pressed.fate, 'failed', JSON.stringify(pressed));
        await until(async () => (await sim.get(`/interaction?id=${pressed.id}`)).completions > 0);
        assert.equal((await sim.get('/rest-faults'))[0].hits, 3);
    });
    await t.test('a ban by Cloudflare: it stays away', LIMIT, async () => {
        await sim.call('DELETE', '/rest-faults');
        await sim.post('/rest-faults', { how: 'cloudflare', path: '/channels/*', times: 0, ms: 30000 });
        await place.report();
        await until(async () => (await sim.get('/state')).rest.cloudflare > 0);
        const { requests } = (await sim.get('/state')).rest;
        await place.report(); // answered all the same: interactions are outside the limits of the bot
        await new Promise(next => setTimeout(next, 3000));
        const after = (await sim.get('/state')).rest;
        assert.equal(after.cloudflare, 1);
        assert.equal(after.requests, requests + 1); // the answer
    });
});

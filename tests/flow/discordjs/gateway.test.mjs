// discord.js, as published, logs in, is thrown off in several ways, and misses nothing.
import test from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Client, Events, GatewayIntentBits as Intent } from 'discord.js';
import { Simulator, TOKEN, until } from './simulator.mjs';

const LIMIT = { timeout: 60000 };
const intents = [Intent.Guilds, Intent.GuildMessages, Intent.MessageContent, Intent.GuildMembers,
    Intent.GuildModeration, Intent.GuildMessageReactions];

async function logIn(sim, options = {}) {
    const client = new Client({ intents, rest: { api: sim.api }, ...options });
    const heard = [];
    client.on(Events.MessageCreate, message => heard.push(message.content));
    client.on(Events.Error, () => {}); // refused connections are part of the test
    client.on(Events.ShardError, () => {});
    const ready = once(client, Events.ClientReady);
    await client.login(TOKEN);
    await ready;
    return { client, heard };
}

test('discord.js logs in on all shards and sees each guild', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '6', SIM_SHARDS: '2' });
    const { client } = await logIn(sim, { shards: 'auto' });
    t.after(async () => { await client.destroy(); await sim.stop(); });

    const guilds = await sim.get('/guilds');
    assert.deepEqual([...client.guilds.cache.keys()].sort(), guilds.map(g => g.id).sort());
    for (const guild of guilds) {
        assert.equal(client.guilds.cache.get(guild.id).name, guild.name);
        assert.equal(client.guilds.cache.get(guild.id).shardId, guild.shard);
        assert.equal(client.guilds.cache.get(guild.id).ownerId, guild.owner_id);
    }
    assert.equal((await sim.get('/state')).gateway.identifies, 2);
});

for (const how of [{ how: 'reconnect' }, { how: 'close', code: 4000 }, { how: 'drop' }]) {
    test(`after ${JSON.stringify(how)} it resumes and sees what it missed once`, LIMIT, async t => {
        const sim = await Simulator.start({ SIM_GUILDS: '2' });
        const { client, heard } = await logIn(sim);
        t.after(async () => { await client.destroy(); await sim.stop(); });
        const [guild] = await sim.get('/guilds');

        await sim.post('/message', { guild_id: guild.id, content: 'before' });
        await until(() => heard.includes('before'));
        // Nobody gets back in until the message was sent: it is missed for certain.
        await sim.post('/gateway', { resume_refused: true });
        assert.equal((await sim.post('/disconnect', how)).disconnected, 1);
        await until(async () => (await sim.get('/state')).gateway.live === 0);
        const sent = await sim.post('/message', { guild_id: guild.id, content: 'meanwhile' });
        assert.equal(sent.sent, true);
        await sim.post('/gateway', { resume_refused: false });
        await until(() => heard.includes('meanwhile'));
        await sim.post('/message', { guild_id: guild.id, content: 'after' });
        await until(() => heard.includes('after'));

        assert.deepEqual(heard, ['before', 'meanwhile', 'after']);
        const { gateway } = await sim.get('/state');
        assert.equal(gateway.identifies, 1);
        assert.ok(gateway.resumes >= 1 && gateway.replayed >= 1, JSON.stringify(gateway));
    });
}

test('an invalid session that may resume does so on the same connection', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '2' });
    const { client, heard } = await logIn(sim);
    t.after(async () => { await client.destroy(); await sim.stop(); });

    await sim.post('/disconnect', { how: 'invalid_session_resumable' });
    const [guild] = await sim.get('/guilds');
    await sim.post('/message', { guild_id: guild.id, content: 'meanwhile' });
    await until(() => heard.includes('meanwhile'));
    const { gateway } = await sim.get('/state');
    assert.deepEqual([gateway.identifies, gateway.resumes, heard.length], [1, 1, 1]);
});

test('an invalid session is identified anew', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '2', SIM_IDENTIFY_WINDOW_MS: '0' });
    const { client, heard } = await logIn(sim);
    t.after(async () => { await client.destroy(); await sim.stop(); });

    await sim.post('/disconnect', { how: 'invalid_session' });
    await until(async () => (await sim.get('/state')).gateway.identifies === 2);
    const [guild] = await sim.get('/guilds');
    await until(async () => (await sim.get('/gateway')).sessions.some(s => s.connected && s.sent === s.seq));
    await sim.post('/message', { guild_id: guild.id, content: 'again' });
    await until(() => heard.includes('again'));
});

test('a client that is not answered notices by its heartbeats and resumes', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '2', SIM_HEARTBEAT_MS: '500' });
    const { client } = await logIn(sim);
    t.after(async () => { await client.destroy(); await sim.stop(); });

    await until(async () => (await sim.get('/state')).gateway.heartbeats >= 2);
    await sim.post('/gateway', { heartbeat_acks: false });
    await until(async () => (await sim.get('/state')).gateway.resumes >= 1);
    await sim.post('/gateway', { heartbeat_acks: true });
});

test('a wrong token and unknown intents are refused for good', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1' });
    t.after(() => sim.stop());

    const client = new Client({ intents, rest: { api: sim.api } });
    await assert.rejects(client.login('some-other-token'), /invalid token/i);
    assert.equal((await sim.get('/state')).gateway.identifies, 0);
});

test('all of a burst of traffic arrives once and in order', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '8', SIM_SHARDS: '2' });
    const client = new Client({ intents, rest: { api: sim.api }, shards: 'auto' });
    t.after(async () => { await client.destroy(); await sim.stop(); });
    const seen = [];
    client.on(Events.Raw, packet => {
        if (packet.t === 'MESSAGE_CREATE')
            seen.push(packet.d.id);
    });
    const ready = once(client, Events.ClientReady);
    await client.login(TOKEN);
    await ready;

    await sim.post('/traffic', { events: 3000, mix: { create: 60, typing: 0 } });
    await until(async () => !(await sim.get('/traffic')).running);
    const answer = await fetch(`${sim.admin}/record?kind=MESSAGE_CREATE`);
    const sent = (await answer.text()).trim().split('\n').map(line => JSON.parse(line).message_id);
    await until(() => seen.length >= sent.length);
    assert.deepEqual([...seen].sort(), [...sent].sort());
    // Each shard's own share is in the order in which it was sent.
    const place = new Map(sent.map((id, n) => [id, n]));
    assert.equal(place.size, sent.length);
    const { guilds } = await sim.get('/report');
    assert.equal(guilds.reduce((sum, g) => sum + g.events, 0), 3000 + 8); // and a GUILD_CREATE each
});

// discord.js against the simulated REST API: what it sends is taken, what it gets it understands.
import test from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { ChannelType, Client, Events, GatewayIntentBits as Intent, PermissionFlagsBits,
    REST, Routes } from 'discord.js';
import { Simulator, TOKEN, until } from './simulator.mjs';

const LIMIT = { timeout: 60000 };

async function world(t, settings = {}) {
    const sim = await Simulator.start({ SIM_GUILDS: '2', ...settings });
    const client = new Client({
        intents: [Intent.Guilds, Intent.GuildMessages, Intent.MessageContent, Intent.GuildMembers,
            Intent.GuildModeration],
        rest: { api: sim.api },
    });
    const ready = once(client, Events.ClientReady);
    await client.login(TOKEN);
    await ready;
    t.after(async () => { await client.destroy(); await sim.stop(); });
    const [told] = await sim.get('/guilds');
    const guild = client.guilds.cache.get(told.id);
    return { sim, client, told, guild, channel: guild.channels.cache.find(c => c.name === 'general') };
}

test('messages are made, edited, found again and deleted', LIMIT, async t => {
    const { sim, channel } = await world(t);
    const message = await channel.send({ content: 'first', embeds: [{ title: 'a title' }] });
    assert.equal(message.embeds[0].title, 'a title');
    await message.edit('second');
    const found = await channel.messages.fetch({ message: message.id, force: true });
    assert.equal(found.content, 'second');
    assert.ok(found.editedAt);
    const reply = await message.reply('a reply');
    assert.equal(reply.reference.messageId, message.id);
    assert.equal((await sim.get(`/messages?channel=${channel.id}`)).length, 2);
    await message.delete();
    await assert.rejects(channel.messages.fetch({ message: message.id, force: true }), { code: 10008 });
    await assert.rejects(channel.send({ content: '' }), { code: 50006 });
});

test('the same enforced nonce is the same message', LIMIT, async t => {
    const { sim, channel } = await world(t);
    const [a, b, other] = [
        await channel.send({ content: 'x', nonce: 'n1', enforceNonce: true }),
        await channel.send({ content: 'x', nonce: 'n1', enforceNonce: true }),
        await channel.send({ content: 'x', nonce: 'n2', enforceNonce: true }),
    ];
    assert.equal(a.id, b.id);
    assert.notEqual(a.id, other.id);
    assert.equal((await sim.get(`/messages?channel=${channel.id}`)).length, 2);
});

test('threads, channels and roles are made and heard of', LIMIT, async t => {
    const { sim, client, guild, channel } = await world(t);
    const message = await channel.send('start here');
    const thread = await message.startThread({ name: 'logs of someone' });
    await thread.join();
    await thread.send('in the thread');
    assert.equal((await sim.get(`/messages?channel=${thread.id}`))[0].content, 'in the thread');
    await assert.rejects(message.startThread({ name: 'twice' }), { code: 160004 });
    const made = await guild.channels.create({ name: 'deletion-log', type: ChannelType.GuildText });
    await until(() => client.channels.cache.has(made.id));
    const role = await guild.roles.create({ name: 'Helpers', permissions: PermissionFlagsBits.KickMembers });
    assert.equal(role.name, 'Helpers');
});

test('members are timed out, given roles, kicked, banned and unbanned', LIMIT, async t => {
    const { guild, told } = await world(t);
    const [first, second] = told.member_ids;
    const member = await guild.members.fetch(first);
    assert.ok((await member.timeout(60000, 'for a test')).communicationDisabledUntil > new Date());
    await member.roles.add(told.moderator_role_id);
    assert.ok((await guild.members.fetch({ user: first, force: true })).roles.cache.has(told.moderator_role_id));
    await member.kick('for a test');
    await assert.rejects(guild.members.fetch({ user: first, force: true }), { code: 10007 });
    await guild.bans.create(second, { reason: 'for a test' });
    assert.equal((await guild.bans.fetch({ user: second, force: true })).user.id, second);
    await guild.bans.remove(second);
    await assert.rejects(guild.bans.fetch({ user: second, force: true }), { code: 10026 });
    const log = await guild.fetchAuditLogs();
    assert.equal(log.entries.first().targetId, second);
});

test('commands are overwritten in bulk and keep their ids', LIMIT, async t => {
    const { client } = await world(t);
    const commands = [{ name: 'Report', type: 3 },
        { name: 'modreport', description: 'about a member', options: [{ type: 6, name: 'user', description: 'who', required: true }] }];
    const once_ = await client.application.commands.set(commands);
    const twice = await client.application.commands.set(commands);
    assert.deepEqual([...once_.keys()].sort(), [...twice.keys()].sort());
    assert.equal((await client.application.commands.fetch()).size, 2);
    await assert.rejects(client.application.commands.set([{ name: 'Not Lower', description: 'x' }]), { code: 50035 });
});

test('a spent bucket is a 429 that discord.js waits out', LIMIT, async t => {
    const { sim, client, channel } = await world(t, { SIM_RATE_PER_BUCKET: '3' });
    const limited = once(client.rest, 'rateLimited');
    await Promise.all([1, 2, 3, 4, 5].map(n => channel.send(`message ${n}`)));
    const [info] = await limited;
    assert.equal(info.global, false);
    assert.equal((await sim.get(`/messages?channel=${channel.id}`)).length, 5);
    // and one who does not wait gets it in the face
    const url = `${sim.api}/v10/channels/${channel.id}/messages`;
    let answer;
    do
        answer = await fetch(url, { method: 'POST', body: '{"content":"x"}', headers: {
            authorization: `Bot ${TOKEN}`, 'content-type': 'application/json', 'user-agent': 'DiscordBot (test, 1)' } });
    while (answer.status === 200);
    assert.equal(answer.status, 429);
    assert.ok((await answer.json()).retry_after > 0);
    assert.equal(answer.headers.get('x-ratelimit-scope'), 'user');
});

test('without the right token there is only 401', LIMIT, async t => {
    const { sim } = await world(t);
    const rest = new REST({ api: sim.api }).setToken('some-other-token');
    await assert.rejects(rest.get(Routes.user('@me')), { status: 401 });
});

test('OAuth2: a code works once, with its verifier, and the token says who', LIMIT, async t => {
    const { sim, told } = await world(t, { SIM_CLIENT_SECRET: 'hush' });
    const origin = sim.api.replace(/\/api$/, '');
    const { createHash } = await import('node:crypto');
    const verifier = 'v'.repeat(50), challenge = createHash('sha256').update(verifier).digest('base64url');
    const query = new URLSearchParams({ client_id: '1000000000000000001', response_type: 'code', scope: 'identify guilds',
        redirect_uri: 'http://127.0.0.1:1/callback', state: 'a state & more', code_challenge: challenge,
        code_challenge_method: 'S256', prompt: 'none' });
    const page = await (await fetch(`${origin}/oauth2/authorize?${query}`)).text();
    assert.match(page, /Continue as/);
    assert.doesNotMatch(page, /<script/);

    const code = async () => {
        const answer = await fetch(`${origin}/oauth2/authorize?${query}&as=${told.moderator_id}`, { redirect: 'manual' });
        const back = new URL(answer.headers.get('location'));
        assert.equal(back.searchParams.get('state'), 'a state & more');
        return back.searchParams.get('code');
    };
    const redeem = (code_, change = {}) => fetch(`${sim.api}/v10/oauth2/token`, { method: 'POST', body: new URLSearchParams({
        grant_type: 'authorization_code', code: code_, redirect_uri: 'http://127.0.0.1:1/callback', code_verifier: verifier,
        client_id: '1000000000000000001', client_secret: 'hush', ...change }) });
    const first = await code();
    const token = await (await redeem(first)).json();
    assert.equal(token.token_type, 'Bearer');
    assert.equal((await redeem(first)).status, 400);
    assert.equal((await redeem(await code(), { code_verifier: 'w'.repeat(50) })).status, 400);
    assert.equal((await redeem(await code(), { client_secret: 'wrong' })).status, 401);

    const as = { headers: { authorization: `Bearer ${token.access_token}` } };
    assert.equal((await (await fetch(`${sim.api}/v10/users/@me`, as)).json()).id, told.moderator_id);
    const guilds = await (await fetch(`${sim.api}/v10/users/@me/guilds`, as)).json();
    const mine = guilds.find(g => g.id === told.id);
    assert.equal(mine.owner, false);
    assert.ok(BigInt(mine.permissions) & PermissionFlagsBits.ManageMessages);
    await fetch(`${sim.api}/v10/oauth2/token/revoke`, { method: 'POST', body: new URLSearchParams({
        token: token.access_token, client_id: '1000000000000000001', client_secret: 'hush' }) });
    assert.equal((await fetch(`${sim.api}/v10/users/@me`, as)).status, 401);
});

for (const scope of ['user', 'global', 'shared'])
    test(`a 429 of scope ${scope} is waited out`, LIMIT, async t => {
        const { sim, client, channel } = await world(t);
        const limited = once(client.rest, 'rateLimited');
        await sim.post('/rest-faults', { how: 'limit', scope, method: 'POST', path: '/channels/*/messages', ms: 400 });
        const [, [info]] = await Promise.all([channel.send('x'), limited]);
        assert.equal(info.global, scope === 'global');
        const { rest } = await sim.get('/state');
        assert.deepEqual([rest.limited, rest[`limited_${scope}`], rest.limited_again, rest.invalid_10min],
            [1, 1, 0, scope === 'shared' ? 0 : 1]);
        assert.equal((await sim.get(`/messages?channel=${channel.id}`)).length, 1);
    });

for (const fault of [{ how: 'status', status: 500 }, { how: 'status', status: 502, body: '<html>Bad Gateway</html>' }, { how: 'cut' }, { how: 'lose' },
    { how: 'delay', ms: 300 }])
    test(`after ${JSON.stringify(fault)} a message with a nonce is there once`, LIMIT, async t => {
        const { sim, channel } = await world(t);
        await sim.post('/rest-faults', { ...fault, method: 'POST', path: '/channels/*/messages' });
        const send = () => channel.send({ content: 'x', nonce: 'n', enforceNonce: true });
        await send().catch(send); // discord.js repeats after an answer of 500, not after a lost one
        assert.equal((await sim.get(`/messages?channel=${channel.id}`)).length, 1);
        assert.equal((await sim.get('/rest-faults'))[0].hits, 1);
    });

test('who asks too often for what it may not have is shut out', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1', SIM_INVALID_MAX: '20' });
    t.after(() => sim.stop());
    const ask = token => fetch(`${sim.api}/v10/users/@me`, { headers: { authorization: `Bot ${token}`, 'user-agent': 'DiscordBot (test, 1)' } });
    for (let n = 0; n < 20; n++)
        assert.equal((await ask('wrong')).status, 401);
    const answer = await ask(TOKEN);
    assert.deepEqual([answer.status, answer.headers.get('x-ratelimit-scope'), answer.headers.get('content-type')], [429, null, 'text/html; charset=UTF-8']);
    assert.ok(Number(answer.headers.get('retry-after')) > 500);
    assert.match(await answer.text(), /1015/);
    await sim.post('/rates', { forgive: true });
    assert.equal((await ask(TOKEN)).status, 200);
});

test('all members of a guild are fetched in chunks', LIMIT, async t => {
    const { sim, guild } = await world(t, { SIM_MEMBERS: '2300', SIM_GUILDS: '1' });
    const members = await guild.members.fetch();
    assert.equal(members.size, 2301); // and the bot
    assert.equal((await sim.get('/state')).gateway.member_chunks, 3);
});

test('a token that was reset is nobody\'s', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1', SIM_IDENTIFY_TOTAL: '1', SIM_IDENTIFY_WINDOW_MS: '0' });
    t.after(() => sim.stop());
    const { WebSocket } = await import('ws');
    const identify = async () => {
        const socket = new WebSocket(`${sim.api.replace(/^http/, 'ws').replace(/\/api$/, '')}/?v=10&encoding=json`);
        const closed = once(socket, 'close').then(([code]) => code);
        await once(socket, 'open');
        socket.send(JSON.stringify({ op: 2, d: { token: TOKEN, properties: {}, intents: 513, shard: [0, 1] } }));
        return { closed };
    };
    const first = await identify();
    await until(async () => (await sim.get('/state')).gateway.live === 1);
    await (await identify()).closed;
    assert.equal(await first.closed, 4004);
    const state = await sim.get('/state');
    assert.deepEqual([state.gateway.token_resets, state.gateway.sessions], [1, 0]);
    const rest = new REST({ api: sim.api }).setToken(TOKEN);
    await assert.rejects(rest.get(Routes.user('@me')), { status: 401 });
    await sim.post('/token', { token: 'a-new-one' });
    assert.equal((await new REST({ api: sim.api }).setToken('a-new-one').get(Routes.user('@me'))).bot, true);
});

test('OAuth2 goes wrong as it can', LIMIT, async t => {
    const { sim, told } = await world(t, { SIM_CLIENT_SECRET: 'hush' });
    const origin = sim.api.replace(/\/api$/, '');
    const query = as => new URLSearchParams({ client_id: '1000000000000000001', response_type: 'code', scope: 'identify guilds',
        redirect_uri: 'http://127.0.0.1:1/callback', state: 's', as });
    const authorize = async (as = told.moderator_id) => {
        const answer = await fetch(`${origin}/oauth2/authorize?${query(as)}`, { redirect: 'manual' });
        return new URL(answer.headers.get('location')).searchParams;
    };
    const redeem = form => fetch(`${sim.api}/v10/oauth2/token`, { method: 'POST', body: new URLSearchParams({
        redirect_uri: 'http://127.0.0.1:1/callback', client_id: '1000000000000000001', client_secret: 'hush', ...form }) });
    const byCode = async code => redeem({ grant_type: 'authorization_code', code: code ?? (await authorize()).get('code') });
    const me = token => fetch(`${sim.api}/v10/users/@me`, { headers: { authorization: `Bearer ${token}` } });

    const denied = await authorize('deny');
    assert.deepEqual([denied.get('error'), denied.get('state'), denied.get('code')], ['access_denied', 's', null]);
    assert.equal((await byCode('no-such-code')).status, 400);
    await sim.post('/rest-faults', { how: 'status', status: 503, path: '/oauth2/token', times: 1 });
    assert.equal((await byCode()).status, 503);
    await sim.post('/oauth', { drop_scope: true, expires_in: 1 });
    const token = await (await byCode()).json();
    assert.deepEqual([token.scope, token.expires_in], ['identify', 1]);
    assert.equal((await me(token.access_token)).status, 200);
    await until(async () => (await me(token.access_token)).status === 401, 100);
    await sim.post('/oauth', { drop_scope: false, expires_in: 0 });
    const fresh = await (await redeem({ grant_type: 'refresh_token', refresh_token: token.refresh_token })).json();
    assert.equal((await me(fresh.access_token)).status, 200);
    await sim.post('/oauth', { revoke_all: true });
    assert.equal((await me(fresh.access_token)).status, 401);
    assert.equal((await redeem({ grant_type: 'refresh_token', refresh_token: fresh.refresh_token })).status, 400);
    await sim.post('/oauth', { code_ms: 1 });
    const slow = (await authorize()).get('code');
    await new Promise(next => setTimeout(next, 20));
    assert.equal((await byCode(slow)).status, 400);
});

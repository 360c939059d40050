// The simulator's signed webhook, verified by discord-interactions and by nothing of this tree.
import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { verifyKey, InteractionType, InteractionResponseType } from 'discord-interactions';
import { Simulator } from './simulator.mjs';

const LIMIT = { timeout: 60000 };

// Answers as answer(interaction) says; keeps what it got in requests.
async function endpoint(sim, answer) {
    const requests = [];
    const server = http.createServer(async (request, response) => {
        const chunks = [];
        for await (const chunk of request)
            chunks.push(chunk);
        const body = Buffer.concat(chunks);
        const signature = request.headers['x-signature-ed25519'] ?? '';
        const timestamp = request.headers['x-signature-timestamp'] ?? '';
        const valid = await verifyKey(body, signature, timestamp, sim.publicKey);
        requests.push({ body, signature, timestamp, valid });
        if (!valid)
            return response.writeHead(401).end();
        const interaction = JSON.parse(body);
        const said = interaction.type === InteractionType.PING ? { type: InteractionResponseType.PONG }
            : await answer(interaction);
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, requests, url: `http://127.0.0.1:${server.address().port}/webhooks/discord` };
}

async function world(t, answer) {
    const sim = await Simulator.start({ SIM_GUILDS: '2' });
    const hook = await endpoint(sim, answer);
    t.after(async () => { hook.server.close(); hook.server.closeAllConnections?.(); await sim.stop(); });
    const ping = await sim.call('PUT', '/interactions-url', { url: hook.url });
    assert.equal(ping.fate, 'answered', JSON.stringify(ping));
    const [guild] = await sim.get('/guilds');
    return { sim, guild, ...hook };
}
const hello = () => ({ type: 4, data: { content: 'hello' } });

test('interactions are signed, and a tampered one fails', LIMIT, async t => {
    const { sim, guild, requests } = await world(t, hello);
    const message = await sim.post('/message', { guild_id: guild.id, content: 'look at this' });
    const answer = await sim.post('/interaction', { kind: 'Track', guild_id: guild.id, user_id: guild.moderator_id, target: message.id });
    assert.deepEqual([answer.fate, answer.http, answer.callback, answer.body.data.content], ['answered', 200, 4, 'hello']);

    const { body, signature, timestamp, valid } = requests.at(-1);
    assert.equal(valid, true);
    const tampered = Buffer.from(body);
    tampered[tampered.length - 2] ^= 1;
    assert.equal(await verifyKey(tampered, signature, timestamp, sim.publicKey), false);
    assert.equal(await verifyKey(body, signature, String(+timestamp + 1), sim.publicKey), false);

    const sent = JSON.parse(body);
    assert.equal(sent.data.target_id, message.id);
    assert.equal(sent.data.resolved.messages[message.id].content, 'look at this');
    assert.equal(sent.guild_id, guild.id);
    assert.ok(BigInt(sent.member.permissions) & 1n << 13n);
    assert.equal(sent.application_id, '1000000000000000001');
});

test('invalid signatures of all kinds must be refused with 401', LIMIT, async t => {
    const { sim, requests } = await world(t, hello);
    for (const probe of ['signature', 'timestamp', 'body', 'missing', 'other_key']) {
        const seen = requests.length;
        const answer = await sim.post('/interaction', { kind: 'probe', probe });
        assert.equal(requests.length, seen + 1);
        assert.equal(requests.at(-1).valid, false, probe);
        assert.deepEqual([answer.fate, answer.http], ['answered', 401], probe);
    }
    const { interactions } = await sim.get('/state');
    assert.equal(interactions.sent, 0); // probes are not anyone's interactions
});

test('a deferral is completed by PATCH @original, and not before it is through', LIMIT, async t => {
    const early = [];
    const { sim, guild } = await world(t, async interaction => {
        const answer = await fetch(`${sim.api}/v10/webhooks/${interaction.application_id}/${interaction.token}/messages/@original`,
            { method: 'PATCH', body: '{"content":"too early"}', headers: { 'content-type': 'application/json' } });
        early.push(answer.status);
        return { type: 5, data: { flags: 64 } };
    });
    const answer = await sim.post('/interaction', { kind: 'modreport', guild_id: guild.id, user_id: guild.moderator_id, target: guild.member_id });
    assert.equal(answer.fate, 'deferred');
    assert.deepEqual(early, [404]);
    const done = await fetch(`${sim.api}/v10/webhooks/1000000000000000001/${answer.token}/messages/@original`,
        { method: 'PATCH', body: '{"content":"done"}', headers: { 'content-type': 'application/json' } });
    assert.equal(done.status, 200);
    const after = await sim.get(`/interaction?id=${answer.id}`);
    assert.deepEqual([after.fate, after.original.content, after.ephemeral], ['completed', 'done', true]);
    const forged = await fetch(`${sim.api}/v10/webhooks/1000000000000000001/${answer.token.replace(/^./, 'z')}/messages/@original`);
    assert.equal(forged.status, 401);
});

test('answers that Discord would not take count as failed', LIMIT, async t => {
    let said = { type: 9 };
    const { sim, guild } = await world(t, () => said);
    const ask = () => sim.post('/interaction', { kind: 'setup', guild_id: guild.id, user_id: guild.owner_id });
    for (const [wrong, reason] of [[{ type: 9 }, 'bad_modal'], [{ type: 6 }, 'wrong_callback_type'],
        [{ type: 4, data: {} }, 'empty_message'], ['words', 'not_a_callback']]) {
        said = wrong;
        const answer = await ask();
        assert.deepEqual([answer.fate, answer.reason], ['failed', reason]);
    }
    assert.equal((await sim.get('/report')).interactions.failed, 4);
});

test('components update their message, in guilds and in direct messages', LIMIT, async t => {
    let said, sent;
    const { sim, guild } = await world(t, interaction => { sent = interaction; return said; });
    const bot = '1000000000000000001';
    const buttons = [{ type: 1, components: [{ type: 2, style: 1, custom_id: 'vote-kick|7', label: 'Kick' }] }];
    const message = await sim.post('/message', { guild_id: guild.id, author_id: bot, content: 'a vote', components: buttons });
    const press = extra => sim.post('/interaction', { kind: 'component', custom_id: 'vote-kick|7', user_id: guild.moderator_id, ...extra });

    said = { type: 7, data: { content: 'one vote', components: [] } };
    const first = await press({ guild_id: guild.id, message_id: message.id });
    assert.equal(first.fate, 'answered');
    assert.deepEqual([sent.type, sent.data.custom_id, sent.message.content, sent.context], [3, 'vote-kick|7', 'a vote', 0]);
    assert.equal((await sim.get(`/messages?channel=${message.channel_id}`))[0].content, 'one vote');

    said = { type: 6 };
    const second = await press({ guild_id: guild.id, message_id: message.id });
    assert.equal(second.fate, 'deferred');
    await fetch(`${sim.api}/v10/webhooks/${bot}/${second.token}/messages/@original`,
        { method: 'PATCH', body: '{"content":"two votes"}', headers: { 'content-type': 'application/json' } });
    assert.equal((await sim.get(`/messages?channel=${message.channel_id}`))[0].content, 'two votes');
    assert.equal((await sim.get(`/interaction?id=${second.id}`)).fate, 'completed');

    said = hello();
    await press({});
    assert.deepEqual([sent.guild_id, sent.member, sent.user.id, sent.context, sent.channel.type],
        [undefined, undefined, guild.moderator_id, 1, 1]);
});

test('an answer by callback counts, once and in time', LIMIT, async t => {
    const codes = [];
    const { sim, guild, server } = await world(t, hello);
    // From now on the endpoint accepts with 202 and answers through the API, or does not.
    let callback;
    server.removeAllListeners('request');
    server.on('request', async (request, response) => {
        const chunks = [];
        for await (const chunk of request)
            chunks.push(chunk);
        const interaction = JSON.parse(Buffer.concat(chunks));
        response.writeHead(202).end();
        const answer = callback; // as it is now: the first one ends ask(), and the test goes on
        for (let n = 0; answer && n < 2; n++)
            codes.push((await fetch(`${sim.api}/v10/interactions/${interaction.id}/${interaction.token}/callback`,
                { method: 'POST', body: JSON.stringify(answer), headers: { 'content-type': 'application/json' } })).status);
    });
    const ask = () => sim.post('/interaction', { kind: 'setup', guild_id: guild.id, user_id: guild.owner_id });
    callback = hello();
    const answered = await ask();
    assert.deepEqual([answered.fate, answered.callback, answered.original.content], ['answered', 4, 'hello']);
    callback = null;
    const silent = await ask();
    assert.deepEqual([silent.fate, silent.reason], ['failed', 'timeout']);
    assert.deepEqual(codes, [204, 400]);
});

test('who does not answer within three seconds has failed', LIMIT, async t => {
    const { sim, guild } = await world(t, () => new Promise(() => {}));
    const answer = await sim.post('/interaction', { kind: 'setup', guild_id: guild.id, user_id: guild.owner_id });
    assert.deepEqual([answer.fate, answer.reason], ['failed', 'timeout']);
});

test('without an endpoint discord.js gets interactions over the gateway and answers by callback', LIMIT, async t => {
    const { Client, Events, GatewayIntentBits, MessageFlags, ModalBuilder, ActionRowBuilder, TextInputBuilder, TextInputStyle } =
        await import('discord.js');
    const { TOKEN, until } = await import('./simulator.mjs');
    const sim = await Simulator.start({ SIM_GUILDS: '2' });
    const client = new Client({ intents: [GatewayIntentBits.Guilds], rest: { api: sim.api } });
    t.after(async () => { await client.destroy(); await sim.stop(); });
    client.on(Events.InteractionCreate, async interaction => {
        if (interaction.isAutocomplete())
            return interaction.respond([{ name: 'otter', value: 'otter' }]);
        if (interaction.isButton())
            return interaction.showModal(new ModalBuilder().setCustomId('m').setTitle('a form').addComponents(
                new ActionRowBuilder().addComponents(new TextInputBuilder().setCustomId('t').setLabel('text').setStyle(TextInputStyle.Short))));
        if (interaction.commandName === 'modreport') {
            await interaction.deferReply({ flags: MessageFlags.Ephemeral });
            return interaction.editReply('done');
        }
        if (interaction.commandName === 'Track')
            return; // never answers
        const { resource } = await interaction.reply({ content: 'hello', withResponse: true });
        assert.equal(resource.message.content, 'hello');
        return interaction.followUp('and more');
    });
    const ready = once(client, Events.ClientReady);
    await client.login(TOKEN);
    await ready;
    const [guild] = await sim.get('/guilds');
    const ask = (kind, more = {}) => sim.post('/interaction', { kind, guild_id: guild.id, user_id: guild.moderator_id, ...more });

    const hello = await ask('setup');
    assert.deepEqual([hello.fate, hello.callback, hello.body.data.content, hello.by_gateway], ['answered', 4, 'hello', true]);
    await until(async () => (await sim.get(`/interaction?id=${hello.id}`)).completions === 1);
    assert.equal((await ask('autocomplete', { data: { name: 'setup', type: 1, options: [{ type: 3, name: 'x', value: 'o', focused: true }] } })).callback, 8);
    const { id: source } = await sim.post('/message', { guild_id: guild.id, content: 'press' });
    assert.equal((await ask('component', { custom_id: 'b', message_id: source })).callback, 9);
    const deferred = await ask('modreport', { target: guild.member_id });
    assert.equal(deferred.fate, 'deferred');
    const done = await until(async () => { const now = await sim.get(`/interaction?id=${deferred.id}`); return now.fate === 'completed' && now; });
    assert.equal(done.original.content, 'done');
    const late = await ask('Track', { target: source });
    assert.deepEqual([late.fate, late.reason], ['failed', 'timeout']);
    const answer = await fetch(`${sim.api}/v10/interactions/${late.id}/${late.token}/callback`, { method: 'POST',
        body: '{"type":4,"data":{"content":"too late"}}', headers: { 'content-type': 'application/json' } });
    assert.deepEqual([answer.status, (await answer.json()).code], [404, 10062]);
    const again = await fetch(`${sim.api}/v10/interactions/${hello.id}/${hello.token}/callback`, { method: 'POST',
        body: '{"type":4,"data":{"content":"twice"}}', headers: { 'content-type': 'application/json' } });
    assert.deepEqual([again.status, (await again.json()).code], [400, 40060]);
});

test('an endpoint that takes a wrong signature is taken away', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1', SIM_PROBE_EACH_MS: '300' });
    const { until } = await import('./simulator.mjs');
    const server = http.createServer((request, response) => {
        request.resume();
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"type":1}'); // whoever asks
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(async () => { server.close(); server.closeAllConnections?.(); await sim.stop(); });
    await sim.call('PUT', '/interactions-url', { url: `http://127.0.0.1:${server.address().port}/` });
    const state = await until(async () => { const s = await sim.get('/state'); return s.interactions.endpoints_removed && s; });
    assert.deepEqual([state.interactions_url, state.interactions.probes_passed], [null, 0]);
});

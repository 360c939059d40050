// Every REST body that our programs send is one that Discord's OpenAPI description accepts, and what the simulator
// answers is what the description promises.
import fs from 'node:fs';
import os from 'node:os';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import test from 'node:test';
import assert from 'node:assert/strict';
import { drivers } from './drivers.mjs';
import { Simulator, TOKEN, until } from './simulator.mjs';
import { route, why } from './openapi.mjs';

const LIMIT = { timeout: 120000 };

async function calls(sim) {
    const text = await (await fetch(`${sim.admin}/record?kind=call`)).text();
    return text.trim().split('\n').filter(line => line).map(line => JSON.parse(line));
}

// All that has to do with moderation, over the gateway, so that answers are REST bodies, too.
async function moderate(sim, guild) {
    const answers = [];
    const ask = async (kind, user, more = {}) => {
        const answer = await sim.post('/interaction', { kind, guild_id: guild.id, user_id: user, ...more });
        answers.push(answer);
        return answer;
    };
    const setup = { id: '1', name: 'setup', type: 1, options: [{ name: 'modlog', type: 7, value: guild.mod_log_id },
        { name: 'moderator', type: 8, value: guild.moderator_role_id }] };
    assert.equal((await ask('setup', guild.owner_id, { data: setup })).fate, 'answered');
    const [author, reporter] = guild.member_ids;
    const texts = ['buy cheap otters here', 'look: https://example.org/a?b=c `code` <@1> @everyone', 'ツ'.repeat(1900),
        '```c\nint main(void) { return 0; }\n```'];
    for (const content of texts) {
        const { id } = await sim.post('/message', { guild_id: guild.id, author_id: author, content });
        for (const [kind, by] of [['Report', reporter], ['Track', guild.moderator_id], ['Report', guild.moderator_id]])
            assert.equal((await ask(kind, by, { target: id })).fate, 'answered', kind);
    }
    assert.equal((await ask('modreport', guild.moderator_id, { target: author })).fate, 'answered');
    assert.equal((await ask('autocomplete', guild.moderator_id, { data: { name: 'setup', options: [] } })).fate, 'answered');
    assert.equal((await ask('component', guild.moderator_id, { custom_id: 'nobody-knows-it' })).fate, 'answered');
    return { ask, answers };
}

// Presses every button of these answers.
async function pressAll(guild, ask, answers) {
    const rows = answers.flatMap(a => (a.body?.data?.components ?? []).map(row => [a, row]));
    const buttons = rows.flatMap(([a, row]) => (row.components ?? []).map(b => [b.custom_id, a.original?.id]));
    for (const [custom_id, message_id] of buttons.filter(([id]) => id)) {
        const done = await ask('component', guild.moderator_id, { custom_id, message_id });
        assert.notEqual(done.fate, 'failed', JSON.stringify(done));
    }
    return buttons.length;
}

async function settled(sim) {
    let seen = -1;
    await until(async () => {
        const { length } = await calls(sim);
        const same = length === seen;
        seen = length;
        return same;
    }, 700);
}

const gateway = drivers.find(d => d.name === 'guildbus-gateway');
test('what our gateway sends fits the description', { ...LIMIT, skip: gateway.missing ?? false }, async t => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'guildbus-witness-'));
    const sim = await Simulator.start({ SIM_GUILDS: '1', SIM_CALL_BODIES: '1' });
    const client = gateway.make(sim, folder);
    t.after(async () => {
        await client.finish();
        await sim.stop();
        fs.rmSync(folder, { recursive: true, force: true });
    });
    await client.start();
    await until(async () => (await sim.get('/gateway')).sessions.some(s => s.connected));
    const [guild] = await sim.get('/guilds');
    const { ask, answers } = await moderate(sim, guild);
    await settled(sim);
    const pressed = await pressAll(guild, ask, [...answers]);
    await settled(sim);

    const made = await calls(sim), kinds = new Set();
    for (const call of made) {
        const r = route(call.method, call.path);
        assert.ok(r, `${call.method} ${call.path}: no such route in openapi.mjs`);
        kinds.add(`${call.method} ${call.path.replace(/\/[0-9a-f]{32}\d+/, '/{}').replace(/\d{10,}/g, '{}')}`);
        if (r.sent)
            assert.equal(why(r.sent, JSON.parse(call.body)), '', `${call.method} ${call.path} ${call.body}`);
        else
            assert.equal(call.body, '', `${call.method} ${call.path}`);
    }
    t.diagnostic(`${made.length} calls, ${pressed} buttons: ${[...kinds].sort().join(', ')}`);
    assert.ok(kinds.size >= 5 && made.length >= 20 && pressed > 0);
});

test('the commands that guildbusctl deploys fit the description', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '1', SIM_CALL_BODIES: '1' });
    t.after(() => sim.stop());
    const [guild] = await sim.get('/guilds');
    const env = { ...process.env, DISCORD_TOKEN: TOKEN, DISCORD_APPLICATION_ID: '1000000000000000001', DISCORD_API_URL: `${sim.api}/v10` };
    for (const scope of [[], ['--guild', guild.id]])
        execFileSync(path.join(process.env.BIN, 'guildbusctl'), ['deploy-commands', ...scope], { env });
    const made = await calls(sim);
    assert.deepEqual(made.map(c => c.method), ['PUT', 'PUT']);
    for (const call of made) {
        const commands = JSON.parse(call.body);
        assert.equal(why(route(call.method, call.path).sent, commands), '', call.body);
        t.diagnostic(`${call.path}: ${commands.map(c => c.name).join(', ')}`);
        assert.ok(commands.length > 0);
    }
});

test('what the simulator answers fits the description', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '2' });
    t.after(() => sim.stop());
    const [guild] = await sim.get('/guilds');
    const general = guild.channels.find(c => c.name === 'general').id;
    const problems = [];
    const headers = { authorization: `Bot ${TOKEN}`, 'content-type': 'application/json', 'user-agent': 'DiscordBot (test, 1)' };
    const call = async (method, path_, body) => {
        const answer = await fetch(`${sim.api}/v10${path_}`, { method, headers, body: body && JSON.stringify(body) });
        assert.ok(answer.ok, `${method} ${path_}: ${answer.status}`);
        const value = await answer.json(), wrong = why(route(method, path_).back, value);
        if (wrong)
            problems.push(`${method} ${path_}: ${wrong} in ${JSON.stringify(value).slice(0, 1000)}`);
        return value;
    };
    const message = await call('POST', `/channels/${general}/messages`, { content: 'first', embeds: [{ title: 'a title' }] });
    await call('PATCH', `/channels/${general}/messages/${message.id}`, { content: 'second' });
    await call('GET', `/channels/${general}/messages/${message.id}`);
    await call('GET', `/channels/${general}/messages`);
    const thread = await call('POST', `/channels/${general}/messages/${message.id}/threads`, { name: 'a thread' });
    for (const path_ of ['/gateway', '/gateway/bot', '/users/@me', `/users/${guild.owner_id}`, '/users/@me/guilds', `/guilds/${guild.id}/channels`,
        `/guilds/${guild.id}/roles`, `/guilds/${guild.id}/members/${guild.owner_id}`, `/channels/${general}`, `/channels/${thread.id}`])
        await call('GET', path_);
    await call('PUT', '/applications/1000000000000000001/commands', [{ name: 'Report', type: 3 }, { name: 'setup', description: 'x', type: 1 }]);
    await call('GET', '/applications/1000000000000000001/commands');
    assert.deepEqual(problems, []);
});

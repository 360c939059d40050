// @discordjs/ws with a store of sessions: a second process resumes where the first one stopped.
import test from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { REST } from 'discord.js';
import { WebSocketManager, WebSocketShardEvents } from '@discordjs/ws';
import { Simulator, TOKEN, until } from './simulator.mjs';

const LIMIT = { timeout: 60000 };

function manager(sim, sessions, heard) {
    const m = new WebSocketManager({
        token: TOKEN, intents: 1 | 1 << 9 | 1 << 15, rest: new REST({ api: sim.api }).setToken(TOKEN),
        retrieveSessionInfo: id => sessions.get(id) ?? null,
        updateSessionInfo: (id, info) => { info ? sessions.set(id, info) : sessions.delete(id); },
    });
    m.on(WebSocketShardEvents.Dispatch, ({ data }) => {
        if (data.t === 'MESSAGE_CREATE')
            heard.push(data.d.content);
    });
    return m;
}

test('a session survives its process', LIMIT, async t => {
    const sim = await Simulator.start({ SIM_GUILDS: '2' });
    t.after(() => sim.stop());
    const [guild] = await sim.get('/guilds');
    const sessions = new Map(), heard = [];

    const first = manager(sim, sessions, heard);
    const ready = once(first, WebSocketShardEvents.Ready);
    await first.connect();
    await ready;
    await sim.post('/message', { guild_id: guild.id, content: 'one' });
    await until(() => heard.length === 1);
    const saved = [...sessions]; // destroy forgets them in its own process
    await first.destroy({ reason: 'deploy', code: 4200 });
    saved.forEach(([id, info]) => sessions.set(id, info));
    await until(async () => (await sim.get('/state')).gateway.live === 0);
    await sim.post('/message', { guild_id: guild.id, content: 'two' });

    const second = manager(sim, sessions, heard);
    const resumed = once(second, WebSocketShardEvents.Resumed);
    await second.connect();
    await resumed;
    assert.deepEqual(heard, ['one', 'two']);
    const { gateway } = await sim.get('/state');
    assert.deepEqual([gateway.identifies, gateway.resumes], [1, 1]);

    await second.destroy({ code: 1000 });
    await until(async () => (await sim.get('/state')).gateway.sessions === 0);
});

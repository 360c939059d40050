// client_ws.mjs - @discordjs/ws as a process of its own: tells each dispatch as a line of JSON, keeps its sessions in a file.
//
//     API=… TOKEN=… SESSIONS=<file> WS=<package> [COMPRESS=<name of a CompressionMethod>] node client_ws.mjs
//
// Version 1 without zlib-sync falls back from zlib-stream to compressed payloads (IDENTIFY compress:true), so it speaks that.
// SIGTERM: closes with 4200, which keeps the sessions, and ends.
import fs from 'node:fs';
import { REST } from 'discord.js';

const { API, TOKEN, SESSIONS, WS, COMPRESS } = process.env;
const { CompressionMethod, WebSocketManager, WebSocketShardEvents } = await import(WS);
const say = what => process.stdout.write(JSON.stringify(what) + '\n');
let sessions = new Map(fs.existsSync(SESSIONS) ? JSON.parse(fs.readFileSync(SESSIONS, 'utf8')) : []);
let leaving = false; // destroy() forgets the sessions in its own process

const manager = new WebSocketManager({
    token: TOKEN, intents: 1 | 1 << 1 | 1 << 9 | 1 << 15,
    rest: new REST({ api: API, retries: 3 }).setToken(TOKEN),
    compression: COMPRESS ? CompressionMethod[COMPRESS] : null,
    helloTimeout: 2000, readyTimeout: 15000,
    retrieveSessionInfo: id => sessions.get(id) ?? null,
    updateSessionInfo: (id, info) => {
        if (leaving)
            return;
        info ? sessions.set(id, info) : sessions.delete(id);
    },
});
manager.on(WebSocketShardEvents.Dispatch, told => {
    const data = told.data ?? told; // version 1, version 2
    if (data.t === 'MESSAGE_CREATE')
        say({ guild: data.d.guild_id, id: data.d.id, content: data.d.content });
    else if (data.t === 'GUILD_CREATE')
        say({ created: data.d.id, channels: data.d.channels.length, emojis: data.d.emojis.length });
});
manager.on(WebSocketShardEvents.Error, told => say({ error: String(told.error ?? told) }));
process.on('unhandledRejection', error => say({ error: String(error) }));
process.on('SIGTERM', async () => {
    leaving = true;
    await manager.destroy({ reason: 'deploy', code: 4200 }).catch(() => {});
    fs.writeFileSync(SESSIONS, JSON.stringify([...sessions]));
    process.exit(0);
});
try {
    await manager.connect();
} catch (error) {
    say({ error: String(error) });
}
setInterval(() => {}, 1 << 30); // until SIGTERM, also without a shard

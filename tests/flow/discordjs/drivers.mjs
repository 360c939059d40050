// drivers.mjs - who runs the scripts: two clients that others wrote, and our gateway. All of them are processes.
//
//     const client = await driver.make(sim, folder); await client.start(); … client.heard …; await client.stop();
//
// heard: [{guild, id, content}] in the order of arrival; of our gateway what the stream EVENTS has, read and decoded by
// packages that others wrote.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { connect } from '@nats-io/transport-node';
import { jetstream } from '@nats-io/jetstream';
import protobuf from 'protobufjs';
import { TOKEN, until } from './simulator.mjs';

const HERE = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);

class Process {
    constructor(argv, env, log) {
        const out = fs.openSync(log, 'a');
        this.child = spawn(argv[0], argv.slice(1), { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', out] });
        this.gone = once(this.child, 'exit');
        process.on('exit', () => this.child.kill('SIGKILL'));
    }
    // Its exit code; null: a signal ended it.
    async end(signal) {
        this.child.kill(signal);
        const [code] = await this.gone;
        return code;
    }
}

class NodeClient {
    constructor(file, sim, folder, env = {}) {
        Object.assign(this, { file, sim, folder, env, heard: [], guilds: [], errors: [] });
    }
    async start(token = TOKEN) {
        const env = { API: this.sim.api, TOKEN: token, SESSIONS: path.join(this.folder, 'sessions.json'), ...this.env };
        this.process = new Process([process.execPath, path.join(HERE, this.file)], env, path.join(this.folder, 'client.log'));
        createInterface({ input: this.process.child.stdout }).on('line', line => {
            const told = JSON.parse(line);
            (told.error ? this.errors : told.created ? this.guilds : this.heard).push(told.error ?? told);
        });
    }
    async stop() { await this.process.end('SIGTERM'); }
    async finish() { await this.stop(); }
}

async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

class Gateway {
    constructor(sim, folder, env = {}) {
        Object.assign(this, { sim, folder, env, heard: [], guilds: [], errors: [], seen: 0 });
    }
    async start(token = TOKEN) {
        if (!this.nats)
            await this.startNats();
        const all = await this.sim.get('/guilds');
        this.admin = await freePort();
        this.process = new Process([path.join(process.env.BIN, 'guildbus-gateway')], {
            POD_ID: 'gw', ASSIGNED_GUILDS: all.map(g => g.id).join(','), NATS_URL: this.url,
            DATA_DIR: path.join(this.folder, 'data'), DISCORD_TOKEN: token, ADMIN_PORT: String(this.admin),
            DISCORD_APPLICATION_ID: '1000000000000000001', DISCORD_API_URL: `${this.sim.api}/v10`, ...this.env,
        }, path.join(this.folder, 'gateway.log'));
        this.process.child.stdout.resume();
    }
    async startNats() {
        const port = await freePort();
        this.url = `nats://127.0.0.1:${port}`;
        this.nats = new Process(['nats-server', '-a', '127.0.0.1', '-p', String(port), '-js', '-sd', path.join(this.folder, 'nats')],
            {}, path.join(this.folder, 'nats.log'));
        this.connection = await until(() => connect({ servers: this.url }).catch(() => null), 50);
        const root = await protobuf.load(process.env.PROTO);
        this.envelope = root.lookupType('guildbus.v1.Envelope');
        this.reading = this.read();
    }
    async read() {
        const js = jetstream(this.connection);
        const consumer = await until(async () => {
            try {
                return await js.consumers.get('EVENTS');
            } catch {
                return null;
            }
        }, 50);
        this.messages = await consumer.consume();
        for await (const message of this.messages) {
            const { event } = this.envelope.decode(message.data);
            if (event?.type === 'MESSAGE_CREATE') {
                const d = JSON.parse(event.payloadJson);
                this.heard.push({ guild: d.guild_id, id: d.id, content: d.content });
            } else if (event?.type === 'GUILD_CREATE') {
                const d = JSON.parse(event.payloadJson);
                this.guilds.push({ created: d.id, channels: d.channels.length, emojis: (d.emojis ?? []).length });
            }
        }
    }
    async metric(name) {
        const text = await (await fetch(`http://127.0.0.1:${this.admin}/metrics`)).text();
        return Number(text.match(new RegExp(`^${name}(?:{[^}]*})? (\\d+)`, 'm'))?.[1] ?? 0);
    }
    log() { return fs.readFileSync(path.join(this.folder, 'gateway.log'), 'utf8'); }
    async stop() {
        const code = await this.process.end('SIGTERM');
        if (code !== 0)
            throw new Error(`guildbus-gateway ended with ${code}:\n${this.log().slice(-4000)}`);
    }
    async crash() { await this.process.end('SIGKILL'); }
    async finish() {
        try {
            await this.stop(); // a sanitizer's report is an exit code, too
        } finally {
            await this.connection.close().catch(() => {});
            await this.nats.end('SIGKILL');
        }
    }
}

const has = program => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
// can: what scripts may ask for. forgets: after what it begins a new session although the old one could be resumed; that is
// how these versions are, and what comes between is lost for them. variant: only the scripts that are about the transport.
const theirs = [4003, 4005, 4007, 4008, 'refuse', 'early_reconnect', 'resume_host', 'silent'];
const ws = (name, env, more = {}) => ({ name, can: ['restart', 'hello'], forgets: theirs,
    make: (sim, folder) => new NodeClient('client_ws.mjs', sim, folder, env), ...more });
const node20 = Number(process.versions.node.split('.')[0]) >= 20;
export const drivers = [
    { name: 'guildbus-gateway', can: ['restart', 'crash', 'hello', 'guildbus'], forgets: [4003, 4005, 4007],
        missing: has('nats-server') ? null : 'nats-server', make: (sim, folder) => new Gateway(sim, folder) },
    { name: 'guildbus-gateway, uncompressed', can: ['restart', 'crash', 'hello', 'guildbus'], forgets: [4003, 4005, 4007], variant: true,
        missing: has('nats-server') ? null : 'nats-server', make: (sim, folder) => new Gateway(sim, folder, { DISCORD_COMPRESS: '0' }) },
    ws('@discordjs/ws 1', { WS: '@discordjs/ws' }),
    // It inflates payloads side by side, and loses their order.
    ws('@discordjs/ws 1, compressed payloads', { WS: '@discordjs/ws', COMPRESS: 'ZlibStream' }, { variant: true, unordered: true }),
    ws('@discordjs/ws 2, zlib-stream', { WS: 'discordjs-ws-2', COMPRESS: 'ZlibNative' }, { variant: true, missing: node20 ? null : 'node 20' }),
    { name: 'discord.js 14', can: [], forgets: theirs, make: (sim, folder) => new NodeClient('client_discordjs.mjs', sim, folder) },
];

// simulator.mjs - starts guildbus-discord-sim on ports of its own choice and talks to its admin port.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { once } from 'node:events';

export const TOKEN = 'token-of-the-test';

export class Simulator {
    static async start(settings = {}) {
        const sim = new Simulator();
        sim.process = spawn(process.env.SIM, {
            env: { ...process.env, SIM_TOKEN: TOKEN, LOG_LEVEL: 'warn', ...settings },
            stdio: ['ignore', 'pipe', 'inherit'],
        });
        process.on('exit', () => sim.process.kill()); // also when a test fails half-way
        const [line] = await once(createInterface({ input: sim.process.stdout }), 'line');
        const told = JSON.parse(line);
        sim.publicKey = told.public_key;
        sim.api = `http://127.0.0.1:${told.port}/api`;
        sim.admin = `http://127.0.0.1:${told.admin_port}`;
        return sim;
    }

    async stop() {
        const gone = once(this.process, 'exit');
        this.process.kill('SIGTERM');
        const [code] = await gone;
        if (code !== 0)
            throw new Error(`the simulator ended with ${code}`);
    }

    async call(method, path, body) {
        const answer = await fetch(this.admin + path, {
            method, body: body && JSON.stringify(body),
            headers: body ? { 'content-type': 'application/json' } : {},
        });
        const text = await answer.text();
        if (!answer.ok)
            throw new Error(`${method} ${path}: ${answer.status} ${text}`);
        return JSON.parse(text);
    }
    get(path) { return this.call('GET', path); }
    post(path, body) { return this.call('POST', path, body); }
}

// Waits until look() gives something true, and returns it. The test's own time limit bounds it.
export async function until(look, step = 10) {
    for (;;) {
        const found = await look();
        if (found)
            return found;
        await new Promise(next => setTimeout(next, step));
    }
}

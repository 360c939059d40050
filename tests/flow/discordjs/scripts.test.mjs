// Every script of scripts.mjs, by every driver of drivers.mjs. DRIVER=<part of a name> and SCRIPT=<regular expression> choose.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Simulator } from './simulator.mjs';
import { drivers } from './drivers.mjs';
import { Stage, worlds } from './scripts.mjs';

const LIMIT = { timeout: 120000 };
const { DRIVER = '', SCRIPT = '' } = process.env;

const fits = (driver, script) => new RegExp(SCRIPT).test(script.name) && (script.transport || !driver.variant) &&
    (script.needs ?? []).every(what => driver.can.includes(what));

function showLogs(folder) {
    for (const file of fs.readdirSync(folder).filter(name => name.endsWith('.log')))
        console.error(`---- ${file}\n${fs.readFileSync(path.join(folder, file), 'utf8').split('\n').slice(-40).join('\n')}`);
}

async function playWorld(t, driver, world, scripts) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'guildbus-witness-'));
    const sim = await Simulator.start(world.sim);
    const client = driver.make(sim, folder);
    const stage = new Stage(driver, sim, client);
    let failed = false;
    t.after(async () => {
        const state = failed && JSON.stringify((await sim.get('/state')).gateway);
        await client.finish();
        await sim.stop();
        if (failed) {
            console.error(`the simulator: ${state}\nthe client: ${client.errors.slice(-10).join('\n')}`);
            showLogs(folder);
        }
        fs.rmSync(folder, { recursive: true, force: true });
    });
    if (world.open)
        await stage.open();
    for (const script of scripts)
        await t.test(script.name, LIMIT, async () => {
            failed = true;
            if (world.open)
                await stage.calm();
            await script.play(stage);
            failed = false;
        });
}

// Most of the time they wait, so some are played side by side.
describe('scripts', { concurrency: 3 }, () => {
    for (const driver of drivers.filter(d => d.name.includes(DRIVER)))
        for (const world of worlds) {
            const scripts = world.scripts.filter(script => fits(driver, script));
            if (scripts.length > 0)
                test(`${driver.name}, ${scripts.length} script(s)`, { skip: driver.missing ? `${driver.missing} is missing` : false },
                    t => playWorld(t, driver, world, scripts));
        }
});

// respawn.mjs - events.mjs as the one shard of discord.js' ShardingManager; SIGUSR2 respawns it, with discord.js' pauses.
//
//     API=… TOKEN=… DB=… node respawn.mjs      prints how often it has
import { ShardingManager } from 'discord.js';

const manager = new ShardingManager(new URL('./events.mjs', import.meta.url).pathname,
    { token: process.env.TOKEN, totalShards: 1 });
let respawned = 0;
process.on('SIGUSR2', async () => {
    await manager.respawnAll();
    console.log(JSON.stringify({ respawned: ++respawned }));
});
process.on('SIGTERM', () => {
    for (const shard of manager.shards.values())
        shard.kill();
    process.exit(0);
});
manager.spawn();

// client_discordjs.mjs - discord.js as a process of its own: tells each message as a line of JSON.
//
//     API=… TOKEN=… node client_discordjs.mjs
import { Client, Events, GatewayIntentBits as Intent } from 'discord.js';

const { API, TOKEN } = process.env;
const say = what => process.stdout.write(JSON.stringify(what) + '\n');
const client = new Client({
    intents: [Intent.Guilds, Intent.GuildMembers, Intent.GuildMessages, Intent.MessageContent],
    shards: 'auto', rest: { api: API, retries: 3 },
});
client.on(Events.Raw, ({ t, d }) => { // what its own cache makes of a message that comes twice is not asked
    if (t === 'MESSAGE_CREATE')
        say({ guild: d.guild_id, id: d.id, content: d.content });
    else if (t === 'GUILD_CREATE')
        say({ created: d.id, channels: d.channels.length, emojis: d.emojis.length });
});
client.on(Events.Error, error => say({ error: String(error) }));
client.on(Events.ShardError, error => say({ error: String(error) }));
client.on(Events.Invalidated, () => say({ error: 'invalidated' }));
process.on('unhandledRejection', error => say({ error: String(error) }));
process.on('SIGTERM', async () => {
    await client.destroy().catch(() => {});
    process.exit(0);
});
client.login(TOKEN).catch(error => say({ error: String(error) }));
setInterval(() => {}, 1 << 30);

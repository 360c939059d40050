// events.mjs - activity tracking by discord.js and better-sqlite3: one INSERT an event, as it comes; interactions that
// come over the gateway are kept and answered.
//
//     API=… TOKEN=… DB=… [SYNCHRONOUS=FULL] [SEGMENT=0] node events.mjs      prints how many rows it has written
//     … node respawn.mjs                                                     runs it as a shard
import { ChannelType, Client, Events, GatewayIntentBits as Intent, MessageFlags } from 'discord.js';

import { open } from './database.mjs';
import { measure } from './text.mjs';

const { API, TOKEN, DB } = process.env;
const db = open(DB, `
    CREATE TABLE IF NOT EXISTS message_stats(message_id TEXT PRIMARY KEY, author_id TEXT NOT NULL,
        guild_id TEXT NOT NULL, channel_id TEXT NOT NULL, channel_category TEXT, recipient_id TEXT,
        char_count INTEGER NOT NULL, word_count INTEGER NOT NULL, react_count INTEGER NOT NULL DEFAULT 0,
        sent_at INTEGER NOT NULL, code_stats TEXT NOT NULL DEFAULT '[]', link_stats TEXT NOT NULL DEFAULT '[]');
    CREATE TABLE IF NOT EXISTS channel_info(id TEXT PRIMARY KEY, name TEXT, category TEXT);
    CREATE TABLE IF NOT EXISTS commands(id TEXT PRIMARY KEY, name TEXT NOT NULL, user_id TEXT NOT NULL);`);
const findChannel = db.prepare('SELECT category FROM channel_info WHERE id = ?');
const keepChannel = db.prepare('INSERT OR IGNORE INTO channel_info VALUES(?, ?, ?)');
const insert = db.prepare(`INSERT OR IGNORE INTO message_stats(message_id, author_id, guild_id, channel_id,
    channel_category, recipient_id, char_count, word_count, react_count, sent_at, code_stats, link_stats)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const update = db.prepare(`UPDATE message_stats SET char_count = ?, word_count = ?, code_stats = ?, link_stats = ?
    WHERE message_id = ?`);
const remove = db.prepare('DELETE FROM message_stats WHERE message_id = ?');
const keepCommand = db.prepare('INSERT OR IGNORE INTO commands VALUES(?, ?, ?)');
const react = db.prepare('UPDATE message_stats SET react_count = react_count + ? WHERE message_id = ?');

function categoryOf(channel) {
    const known = findChannel.get(channel.id);
    if (known)
        return known.category;
    const parent = channel.parent;
    const category = parent && (parent.type === ChannelType.GuildCategory || channel.isThread()) ? parent.name : null;
    keepChannel.run(channel.id, channel.name, category);
    return category;
}

let events = 0;
const client = new Client({
    intents: [Intent.Guilds, Intent.GuildMembers, Intent.GuildMessages, Intent.GuildMessageReactions,
        Intent.MessageContent],
    ...process.env.SHARDING_MANAGER ? {} : { shards: 'auto' }, rest: { api: API.replace(/\/v10$/, '') },
});
client.on(Events.MessageCreate, message => {
    events++;
    if (message.author.bot || message.system || !message.content)
        return;
    const m = measure(message.content);
    insert.run(message.id, message.author.id, message.guildId, message.channelId, categoryOf(message.channel),
        message.mentions.repliedUser?.id ?? null, m.chars, m.words, message.reactions.cache.size,
        message.createdTimestamp, JSON.stringify(m.code), JSON.stringify(m.links));
});
client.on(Events.MessageUpdate, (_, message) => {
    events++;
    if (!message.content)
        return;
    const m = measure(message.content);
    update.run(m.chars, m.words, JSON.stringify(m.code), JSON.stringify(m.links), message.id);
});
client.on(Events.MessageDelete, message => { events++; remove.run(message.id); });
client.on(Events.MessageReactionAdd, reaction => { events++; react.run(1, reaction.message.id); });
client.on(Events.MessageReactionRemove, reaction => { events++; react.run(-1, reaction.message.id); });
client.on(Events.InteractionCreate, interaction => {
    keepCommand.run(interaction.id, interaction.commandName, interaction.user.id);
    interaction.reply({ content: 'Done.', flags: MessageFlags.Ephemeral });
});
client.on(Events.Error, error => { throw error; });
client.once(Events.ClientReady, () =>
    console.log(JSON.stringify({ ready: client.guilds.cache.size, pid: process.pid })));

let told = 0;
setInterval(() => {
    if (events !== told)
        console.log(JSON.stringify({ events: told = events }));
}, 20);
process.on('SIGTERM', () => process.exit(0));
client.login(TOKEN);

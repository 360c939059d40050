// openapi.mjs - Discord's own OpenAPI description as zod schemas (package discord-api-spec, generated from it day by day).
//
//     why(schema, value) ─▶ '' when it fits: types, bounds, and no field that the description does not know
import * as zod from 'zod';
import * as spec from 'discord-api-spec/zod';

const schema = name => spec[`${name}Schema`] ?? (() => { throw new Error(`no schema ${name}`); })();
const one = (...names) => names.length === 1 ? schema(names[0]) : zod.union(names.map(schema));
const many = name => zod.array(schema(name));

// Method, path, what is sent, what comes back (null: nothing to look at).
const routes = [
    ['GET', '/gateway', null, one('GatewayResponse')],
    ['GET', '/gateway/bot', null, one('GatewayBotResponse')],
    ['GET', '/users/@me', null, one('UserPIIResponse')],
    ['GET', '/users/{}', null, one('UserResponse')],
    ['GET', '/users/@me/guilds', null, many('MyGuildResponse')],
    ['POST', '/users/@me/channels', one('CreatePrivateChannelRequest'), null],
    ['PUT', '/applications/{}/commands', many('ApplicationCommandUpdateRequest'), many('ApplicationCommandResponse')],
    ['GET', '/applications/{}/commands', null, many('ApplicationCommandResponse')],
    ['PUT', '/applications/{}/guilds/{}/commands', many('ApplicationCommandUpdateRequest'), many('ApplicationCommandResponse')],
    ['GET', '/guilds/{}/channels', null, many('GuildChannelResponse')],
    ['GET', '/guilds/{}/roles', null, many('GuildRoleResponse')],
    ['GET', '/guilds/{}/members/{}', null, one('GuildMemberResponse')],
    ['GET', '/channels/{}', null, one('GuildChannelResponse', 'ThreadResponse', 'PrivateChannelResponse')],
    ['GET', '/channels/{}/messages', null, many('MessageResponse')],
    ['GET', '/channels/{}/messages/{}', null, one('MessageResponse')],
    ['POST', '/channels/{}/messages', one('MessageCreateRequest'), one('MessageResponse')],
    ['PATCH', '/channels/{}/messages/{}', one('MessageEditRequestPartial'), one('MessageResponse')],
    ['DELETE', '/channels/{}/messages/{}', null, null],
    ['POST', '/channels/{}/messages/{}/threads', one('CreateTextThreadWithMessageRequest'), one('ThreadResponse')],
    ['POST', '/channels/{}/threads', one('CreateForumThreadRequest', 'CreateTextThreadWithoutMessageRequest'), one('ThreadResponse')],
    ['PATCH', '/webhooks/{}/{}/messages/@original', one('IncomingWebhookUpdateRequestPartial'), one('MessageResponse')],
    ['POST', '/webhooks/{}/{}', one('IncomingWebhookRequestPartial', 'IncomingWebhookUpdateRequestPartial'), one('MessageResponse')],
    ['POST', '/interactions/{}/{}/callback', one('ApplicationCommandAutocompleteCallbackRequest', 'CreateMessageInteractionCallbackRequest',
        'ModalInteractionCallbackRequest', 'UpdateMessageInteractionCallbackRequest'), one('InteractionCallbackResponse')],
].map(([method, path, sent, back]) => ({ method, sent, back, pattern: new RegExp(`^${path.replaceAll('{}', '[^/]+')}$`) }));

export function route(method, path) {
    const bare = path.split('?')[0];
    return routes.find(r => r.method === method && r.pattern.test(bare)) ?? null;
}

// Fields that were left out of what the schema made of the value. A description knows all that one may send.
function unknown(value, made, at = '') {
    if (Array.isArray(value))
        return value.flatMap((v, i) => unknown(v, made?.[i], `${at}[${i}]`));
    if (value === null || typeof value !== 'object')
        return [];
    return Object.entries(value).flatMap(([key, v]) =>
        made === undefined || made === null || !(key in made) ? [`${at}.${key}`] : unknown(v, made[key], `${at}.${key}`));
}

// Where the description and Discord's documentation differ, the documentation is right (as the description's own README
// says): permissions are decimal text, times end with an offset, and a message may be forwarded (a reference of type 1,
// which only the preview of the description knows).
const PERMISSIONS = new Set(['default_member_permissions']);
function asDescribed(value, key) {
    if (Array.isArray(value))
        return value.map(v => asDescribed(v, key));
    if (key === 'message_reference' && value?.type === 1)
        return { ...value, type: 0 };
    if (value !== null && typeof value === 'object')
        return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, asDescribed(v, k)]));
    if (typeof value === 'string' && PERMISSIONS.has(key) && /^\d{1,15}$/.test(value))
        return Number(value);
    if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/.test(value))
        return value.replace('+00:00', 'Z');
    return value;
}

export function why(schema_, told) {
    const value = asDescribed(told);
    const result = zod.safeParse(schema_, value);
    if (!result.success)
        return result.error.issues.map(i => `${i.path.join('.')}: ${i.message}${i.errors ? ' ' + JSON.stringify(i.errors).slice(0, 600) : ''}`).join('; ');
    const extra = unknown(value, result.data);
    return extra.length > 0 ? `not in the description: ${extra.join(', ')}` : '';
}

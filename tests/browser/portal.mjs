// portal.mjs - the portal as people see it: a moderator, the guild's owner, a plain member, and a visitor whose browser
// runs no script. Whatever the browser complains of (console errors, policy violations, requests to elsewhere) is a
// failure. Started by run.sh, which says what the environment holds.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

const { PORTAL_URL, SIM_ADMIN_URL, SCREENSHOT, PROFILE, CHROMIUM } = process.env;
const PATIENCE_MS = 60_000; // for what the system may still be busy with
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const complaints = [];
let discordOrigin = null;

// Each visitor gets an empty browser of its own.
async function openBrowser(name, options = {}) {
  const context = await chromium.launchPersistentContext(path.join(PROFILE, name), {
    executablePath: CHROMIUM,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation',
      (e) => console.error(`policy violation: ${e.violatedDirective} ${e.blockedURI}`));
  });
  const page = context.pages()[0] ?? await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const state = { context, page, expectedStatus: 200 };
  page.on('console', (message) => {
    const expected = state.expectedStatus !== 200 && message.text().includes(`status of ${state.expectedStatus}`);
    if (message.type() === 'error' && !expected && message.location().url.startsWith(PORTAL_URL))
      complaints.push(`${name}: console: ${message.text()} at ${message.location().url}`);
    if (message.text().startsWith('policy violation') && page.url().startsWith(PORTAL_URL))
      complaints.push(`${name}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`${name}: script error: ${error}`));
  page.on('request', (request) => {
    const origin = new URL(request.url()).origin;
    if (origin !== new URL(PORTAL_URL).origin && origin !== discordOrigin)
      complaints.push(`${name}: request to ${request.url()}`);
  });
  return state;
}

// From the landing page through Discord's page of consent; role: owner, moderator or member of the first guild.
async function logIn(browser, role) {
  const { page } = browser;
  await page.goto(PORTAL_URL + '/');
  await page.getByRole('link', { name: 'Log in with Discord' }).click();
  await page.waitForURL((url) => url.origin === discordOrigin);
  const person = page.locator('li').filter({ hasText: `(${role})` }).locator('a').first();
  await person.click();
  await page.waitForURL(`${PORTAL_URL}/guilds`);
  await page.getByRole('heading', { name: 'Your servers' }).waitFor();
}

async function logOut(browser) {
  const { page } = browser;
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.waitForURL(`${PORTAL_URL}/`);
  await page.getByRole('link', { name: 'Log in with Discord' }).waitFor();
  const cookies = await browser.context.cookies(PORTAL_URL);
  assert.equal(cookies.filter((c) => c.name.includes('guildbus')).length, 0, 'a cookie is left after logging out');
}

async function checkCookie(browser) {
  const cookies = (await browser.context.cookies(PORTAL_URL)).filter((c) => c.name.includes('guildbus'));
  assert.equal(cookies.length, 1, 'one cookie holds the login');
  assert.ok(cookies[0].httpOnly && cookies[0].sameSite === 'Lax' && cookies[0].path === '/', 'the cookie is locked down');
}

// The guild's page, loaded again until it counts messages.
async function seePlot(browser, guild) {
  const { page } = browser;
  const until = Date.now() + PATIENCE_MS;
  let total = 0;
  for (;;) {
    await page.goto(`${PORTAL_URL}/guilds/${guild.id}`);
    total = Number(await page.locator('figcaption [data-total]').getAttribute('data-total').catch(() => 0));
    if (total > 0 || Date.now() > until)
      break;
    await page.waitForTimeout(250);
  }
  assert.ok(total > 0, 'the plot counts no message');
  const heights = await page.locator('svg.plot rect.bar').evaluateAll((bars) => bars.map((b) => b.getBBox().height));
  assert.ok(heights.length >= 1 && Math.max(...heights) > 1, 'the plot has no visible bar');
  const box = await page.locator('svg.plot').boundingBox();
  assert.ok(box && box.width > 200 && box.height > 50, 'the plot is not to be seen');
  await page.getByText('The numbers as a table').click();
  const cells = await page.locator('details tbody td:nth-child(2)').allInnerTexts();
  assert.equal(cells.reduce((sum, text) => sum + Number(text), 0), total, 'table and plot disagree');
  await page.getByText('The numbers as a table').click();
}

async function checkAccess(browser, what) {
  const { page } = browser;
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const grave = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  assert.deepEqual(grave.map((v) => `${v.id}: ${v.nodes[0].html}`), [], `${what} keeps people out`);
}

async function checkSizes(browser, what) {
  const { page } = browser;
  for (const width of [360, 768, 1280]) {
    await page.setViewportSize({ width, height: 900 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(over <= 0, `${what} is ${over} px too wide for ${width} px`);
  }
}

async function checkDark(browser, what) {
  const { page } = browser;
  await page.emulateMedia({ colorScheme: 'dark' });
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [r] = ground.match(/\d+/g).map(Number);
  assert.ok(r < 80, `${what} is not dark when the system is: ${ground}`);
  await checkAccess(browser, `${what} (dark)`);
  await page.emulateMedia({ colorScheme: 'light' });
}

// The channel and role that the guild really has, so that the bot goes on working.
async function saveSettings(browser, guild) {
  const { page } = browser;
  await page.goto(`${PORTAL_URL}/guilds/${guild.id}/settings`);
  const before = await page.locator('#restricted').inputValue();
  const restricted = before === '424242424242424242' ? '434343434343434343' : '424242424242424242';
  await checkAccess(browser, 'the settings page');
  if (guild.mod_log_id)
    await page.getByLabel('Mod log channel').fill(String(guild.mod_log_id));
  if (guild.moderator_role_id)
    await page.getByLabel('Moderator role').fill(String(guild.moderator_role_id));
  await page.getByLabel('Restricted role').fill(restricted);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  assert.equal(await page.locator('#restricted').inputValue(), restricted, 'what was saved does not come back');
  await page.getByLabel('Restricted role').fill('not an id');
  browser.expectedStatus = 400;
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('This is not an id.').waitFor();
  browser.expectedStatus = 200;
  await page.goto(`${PORTAL_URL}/guilds/${guild.id}/settings`);
  await page.getByLabel('Restricted role').fill(before); // as it was
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
}

async function asModerator(guild) {
  const browser = await openBrowser('moderator');
  await logIn(browser, 'moderator');
  await checkCookie(browser);
  await browser.page.locator(`a[href="/guilds/${guild.id}"]`).click();
  await browser.page.waitForURL(`${PORTAL_URL}/guilds/${guild.id}`);
  await seePlot(browser, guild);
  await checkAccess(browser, 'the guild page');
  await checkSizes(browser, 'the guild page');
  await checkDark(browser, 'the guild page');
  await browser.page.screenshot({ path: SCREENSHOT, fullPage: true });
  if (await browser.page.getByRole('link', { name: 'Settings' }).count())
    await saveSettings(browser, guild);
  await logOut(browser);
  await browser.context.close();
}

async function asOwner(guild) {
  const browser = await openBrowser('owner');
  await logIn(browser, 'owner');
  await checkAccess(browser, 'the list of servers');
  await checkSizes(browser, 'the list of servers');
  await saveSettings(browser, guild);
  await logOut(browser);
  await browser.context.close();
}

async function asMember(guild) {
  const browser = await openBrowser('member');
  await logIn(browser, 'member');
  browser.expectedStatus = 403;
  for (const where of ['', '/settings', '/activity.json']) {
    const answer = await browser.page.goto(`${PORTAL_URL}/guilds/${guild.id}${where}`);
    assert.equal(answer.status(), 403, `a plain member gets ${where || 'the guild'}`);
    assert.ok(!(await browser.page.content()).includes('<svg'), 'a plain member sees the plot');
  }
  await browser.context.close();
}

async function withoutScript(guild) {
  const browser = await openBrowser('scriptless', { javaScriptEnabled: false });
  await logIn(browser, 'owner');
  const answer = await browser.page.goto(`${PORTAL_URL}/guilds/${guild.id}`);
  assert.equal(answer.status(), 200);
  assert.ok(await browser.page.locator('svg.plot rect.bar').count() > 0, 'no plot without script');
  await logOut(browser);
  await browser.context.close();
}

async function firstGuild() {
  const answer = await fetch(`${SIM_ADMIN_URL}/guilds`);
  assert.equal(answer.status, 200, 'the simulated Discord lists no guilds');
  const body = await answer.json();
  const guild = (Array.isArray(body) ? body : body.guilds)[0];
  assert.match(String(guild.id), /^[0-9]+$/);
  return guild;
}

async function findDiscord() {
  const answer = await fetch(`${PORTAL_URL}/login`, { redirect: 'manual' });
  assert.equal(answer.status, 303, 'the portal does not send visitors to Discord');
  discordOrigin = new URL(answer.headers.get('location')).origin;
}

const guild = await firstGuild();
await findDiscord();
for (const visit of [asModerator, asOwner, asMember, withoutScript]) {
  await visit(guild);
  console.log(`ok ${visit.name}`);
}
assert.deepEqual(complaints, [], 'the browser complained');
console.log(`ok nothing to complain of; picture: ${SCREENSHOT}`);

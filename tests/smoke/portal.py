"""portal.py - the web portal as a guild's owner, a moderator and a plain member see it."""
import re
import urllib.parse

from browser import Browser
from processes import http_json


class Wrong(Exception):
    """The portal did something else than it should."""


def expect(condition, what, page):
    if not condition:
        raise Wrong(f"{what}: {page.status} {page.url}: {page.text[:200]!r}")


def people(cluster):
    """{role: user id} of the simulator's first guild, as its page of consent lists them."""
    browser = Browser()
    page = browser.get(cluster.portal_url + "/login")
    found = {}
    for user, role in re.findall(r"as=(\d+)\">.*?\((owner|moderator|member)\)", page.text):
        found.setdefault(role, user)
    expect({"owner", "member"} <= set(found), "the simulator's page of consent names nobody", page)
    return found


def log_in(cluster, user):
    """A browser with this user's session."""
    browser = Browser()
    consent = browser.get(cluster.portal_url + "/login")
    expect(consent.status == 200 and consent.url.startswith(_origin(cluster.sim_api)), "no page of consent", consent)
    page = browser.get(f"{consent.url}&as={user}")
    expect(page.status == 200 and page.url.startswith(cluster.portal_url), "the login failed", page)
    return browser


def _origin(url):
    return "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))


def save_settings(cluster):
    """Each guild gets its channels and roles, through the portal's form, from its owner."""
    guilds = http_json("GET", cluster.sim_admin + "/guilds")[1]
    browsers = {}
    for guild in guilds:
        owner = guild["owner_id"]
        if owner not in browsers:
            browsers[owner] = log_in(cluster, owner)
        url = f"{cluster.portal_url}/guilds/{guild['id']}/settings"
        page = browsers[owner].get(url)
        expect(page.status == 200, "the owner does not get the settings", page)
        action, fields = page.form("/settings")
        fields.update(modLog=guild["mod_log_id"], moderator=guild["moderator_role_id"])
        page = browsers[owner].post(action, fields)
        expect(page.status == 200 and "Saved" in page.text, "saving settings failed", page)
        _, kept = browsers[owner].get(url).form("/settings")
        expect(kept["modLog"] == guild["mod_log_id"], "what was saved does not come back", page)


def check_portal(cluster):
    """{"ok": bool, "why": text}"""
    try:
        guild = http_json("GET", cluster.sim_admin + "/guilds")[1][0]["id"]
        url = f"{cluster.portal_url}/guilds/{guild}"
        who = people(cluster)
        for role in ("owner", "moderator"):
            if role in who:
                page = log_in(cluster, who[role]).get(url)
                expect(page.status == 200 and "<svg" in page.text and "Messages" in page.text,
                       f"the {role} does not get the guild's page with its plot", page)
        page = log_in(cluster, who["member"]).get(url)
        expect(page.status == 403, "a plain member is not kept out", page)
        page = Browser().get(url)
        expect(page.url.startswith(_origin(cluster.sim_api)), "a stranger is not sent to the login", page)
    except (Wrong, OSError, KeyError) as e:
        return {"ok": False, "why": str(e)}
    return {"ok": True, "why": ""}

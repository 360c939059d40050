"""portal.py - the web portal as a moderator and as a stranger see it."""
import json

from browser import Browser
from processes import http_json


def log_in(cluster, user_id):
    """A browser with a session of this user of the simulator."""
    browser = Browser()
    page = browser.get(cluster.portal_url + "/login")
    if page.url.startswith(cluster.sim_api):  # Discord asks whether the visitor agrees
        page = browser.get(f"{page.url}&user_id={user_id}")
    return browser

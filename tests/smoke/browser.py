"""browser.py - a visitor without a screen: cookies, redirects, forms."""
import html.parser
import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request


class Page:
    def __init__(self, status, url, text):
        self.status, self.url, self.text = status, url, text

    def forms(self):
        reader = _Forms()
        reader.feed(self.text)
        return reader.forms

    def form(self, action_part):
        """(action, {name: value}) of the first form whose action contains this."""
        for action, fields in self.forms():
            if action_part in action:
                return urllib.parse.urljoin(self.url, action), fields
        raise KeyError(f"no form for {action_part} on {self.url}")


class Browser:
    def __init__(self):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                                  urllib.request.HTTPCookieProcessor(self.jar))

    def get(self, url):
        return self._open(urllib.request.Request(url))

    def post(self, url, fields):
        origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
        return self._open(urllib.request.Request(url, urllib.parse.urlencode(fields).encode(),
                                                 {"Origin": origin, "Sec-Fetch-Site": "same-origin"}))

    def _open(self, request):
        try:
            with self.opener.open(request, timeout=20) as answer:
                return Page(answer.status, answer.url, answer.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as e:
            with e:
                return Page(e.code, e.url, e.read().decode("utf-8", "replace"))


class _Forms(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self.open = [], None

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form":
            self.open = {}
            self.forms.append((a.get("action") or "", self.open))
        elif tag in ("input", "textarea", "button", "select") and self.open is not None and a.get("name"):
            self.open[a["name"]] = a.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "form":
            self.open = None

"""The chat page in a real browser: headless Chromium, driven through its DevTools protocol.

    python benches/peers/browser_page.py FIREBOX MODEL [SCREENSHOTS]

FIREBOX is the program, MODEL a chat model (a small one: what it says does not matter), SCREENSHOTS a folder
for pictures of the page. CHROMIUM names the browser where it is not `chromium`. Needs the standard library.
"""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE_S = 60
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}
LONG = "Write a very long story about a lighthouse."
# Answers, as a server might send them: events cut anywhere, every kind of line break, HTML, code, an error.
FAKE = """
window.realFetch ??= window.fetch;
window.fetch = async (path, options) => {
  if (!path.endsWith('chat/completions')) return window.realFetch(path, options);
  const bytes = new TextEncoder().encode(%s);
  let at = 0;
  const pull = (to) => at < bytes.length ? to.enqueue(bytes.slice(at, at += 1)) : to.close();
  return new Response(new ReadableStream({ pull }), { headers: { 'content-type': 'text/event-stream' } });
};
"""


class Browser:
    """One page, and what went wrong on it."""

    def __init__(self, folder):
        to_browser, self.out = os.pipe()
        self.inp, from_browser = os.pipe()
        words = [os.environ.get("CHROMIUM", "chromium"), "--headless=new", "--no-sandbox", "--remote-debugging-pipe"]
        words += ["--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}", "about:blank"]
        # The browser reads commands from descriptor 3 and answers on 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser} 2>{os.devnull}'
        self.process = subprocess.Popen(["sh", "-c", shell, "sh", *words], pass_fds=(to_browser, from_browser))
        os.close(to_browser), os.close(from_browser)
        self.rest, self.n_sent, self.session, self.faults, self.requests = b"", 0, None, [], []
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        self.size(1200, 800)

    def call(self, method, **params):
        self.n_sent += 1
        message = {"id": self.n_sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != self.n_sent:
            self.note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def read(self):
        while b"\0" not in self.rest:
            assert select.select([self.inp], [], [], PATIENCE_S)[0], "the browser does not answer"
            found = os.read(self.inp, 1 << 20)
            assert found, "the browser is gone"
            self.rest += found
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def note(self, event):
        match event.get("method"), event.get("params"):
            case "Runtime.exceptionThrown", params:
                self.faults.append(params["exceptionDetails"])
            case "Log.entryAdded", {"entry": entry} if entry["level"] == "error" and entry["source"] != "network":
                self.faults.append(entry["text"])
            case "Network.requestWillBeSent", {"request": request}:
                self.requests.append(request)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def reload(self):
        self.js("window.isOld = true")
        self.call("Page.reload")
        self.until("!window.isOld && document.readyState === 'complete'")

    def js(self, code):
        found = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, code):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.js(code)):
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {code}"
            time.sleep(0.02)
        return found

    def type(self, text):
        self.call("Input.insertText", text=text)

    def press(self, key, shift=False):
        code, text = KEYS[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector):
        x, y = self.js(f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def size(self, width, height, is_phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if is_phone else 1, mobile=is_phone)

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def dark(self, is_dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)


def serve(firebox, model):
    server = subprocess.Popen([firebox, "serve", "--model", model, "--address", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = server.stdout.readline()
    assert line.startswith("serving on "), line
    return server, line.removeprefix("serving on ").strip()


class Chat(Browser):
    def set(self, name, value):
        """A setting, as if it were typed."""
        self.js(f"(() => {{ const f = document.querySelector('#settings').elements[{name!r}]; f.value = {value!r}; f.dispatchEvent(new Event('change', {{bubbles: true}})) }})()")

    def ask(self, question):
        self.js("document.querySelector('#text').focus()")
        self.type(question)
        self.press("Enter")

    def ended(self):
        self.until("document.querySelector('#stop').hidden")

    def last(self, part):
        return self.js(f"[...document.querySelectorAll('.turn')].at(-1).querySelector('.{part}').textContent")

    def n_turns(self):
        return self.js("document.querySelectorAll('.turn').length")

    def fake(self, events):
        self.js(FAKE % json.dumps(events))


def check_answers(page, _, folder):
    page.until("document.querySelector('#model').value")
    page.picture(folder / "empty.png")
    assert page.js("document.activeElement.id") == "text", "the message has the focus"
    page.type("Name three")
    page.press("Enter", shift=True)
    page.type("colours.")
    assert page.js("document.querySelector('#text').value") == "Name three\ncolours."
    page.set("max_tokens", "80")
    page.press("Enter")
    lengths = set()
    while not page.js("document.querySelector('#stop').hidden"):
        lengths.add(page.js("document.querySelector('.answer').textContent.length"))
    assert len(lengths) > 3, f"the answer comes bit by bit: {lengths}"
    about = page.last("foot")
    assert "tokens/s" in about and "first after" in about, about
    assert "tokens of context" in page.js("document.querySelector('#context').textContent")


def check_stop(page, _, folder):
    page.set("max_tokens", "")
    for stop in (lambda: page.press("Escape"), lambda: page.click("#stop")):
        page.ask(LONG)
        page.until("[...document.querySelectorAll('.answer')].at(-1).textContent.length > 20")
        page.picture(folder / "answering.png")
        stop()
        page.ended()
        assert "stopped" in page.last("foot")
        length = len(page.last("answer"))
        time.sleep(0.3)
        assert len(page.last("answer")) == length, "nothing comes after a stop"


def check_reload(page, *_):
    before = page.js("document.querySelector('#turns').textContent")
    page.set("system", "Answer in one sentence.")
    page.reload()
    page.until("document.querySelector('#model').value")
    assert page.js("document.querySelector('#turns').textContent") == before
    assert page.js("document.querySelector('#settings').elements.system.value") == "Answer in one sentence."


def check_requests(page, *_):
    page.set("max_tokens", "30")
    page.set("seed", "5")
    page.js("document.querySelector('#key').value = 'sk-1'; document.querySelector('#key').dispatchEvent(new Event('change', {bubbles: true}))")
    page.ask("Say something.")
    page.ended()
    first = page.last("answer")
    page.js("[...document.querySelectorAll('.foot button')].at(-1).click()")
    page.until("!document.querySelector('#stop').hidden")
    page.ended()
    assert page.last("answer") == first, "the same seed, the same answer"
    sent = [request for request in page.requests if request["url"].endswith("/chat/completions")][-1]
    body = json.loads(sent["postData"])
    assert sent["headers"].get("authorization", sent["headers"].get("Authorization")) == "Bearer sk-1"
    assert (body["seed"], body["max_tokens"], "top_p" in body) == (5, 30, False), body
    assert body["messages"][0] == {"role": "system", "content": "Answer in one sentence."}
    assert [m["role"] for m in body["messages"][1:]] == ["user", "assistant"] * 3 + ["user"]
    assert page.js("sessionStorage.getItem('firebox.key')") == "sk-1"
    assert "sk-1" not in page.js("JSON.stringify(localStorage)")
    page.set("top_p", "7")
    page.ask("Not sent.")
    assert page.n_turns() == 4 and page.js("!document.querySelector('#settings').hidden"), "a wrong setting is shown"
    page.set("top_p", "")
    page.click("#toggle")
    page.js("document.querySelector('#text').value = ''; document.querySelector('#text').dispatchEvent(new Event('input'))")


def check_events(page, *_):
    evil = "<img src=x onerror=alert(1)> 2 ** 3 **bold** 水\n\n```html\n<b>one</b>\n\n```\nafter `x < y`"
    event = lambda content, end="\r\n\r\n": "data: " + json.dumps({"choices": [{"delta": {"content": content}}]}, ensure_ascii=False) + end
    page.fake(": hello\r\n\r\n" + event(evil[:40]) + event(evil[40:70], "\n\n") + event(evil[70:], "\r\r") + "data: [DONE]\n\n")
    page.ask("HTML?")
    page.ended()
    assert page.js("[...document.querySelectorAll('.answer')].at(-1).querySelector('img, b') === null")
    shown = page.js("[...[...document.querySelectorAll('.answer')].at(-1).children].map((node) => (node.querySelector('pre') ?? node).textContent)")
    assert shown == ["<img src=x onerror=alert(1)> 2 ** 3 bold 水", "<b>one</b>\n", "after x < y"], shown
    for events, error in (
        (event("Half") + 'data: {"error": {"message": "out of luck"}}\n\n', "out of luck"),
        (event("Half"), "the connection ended"),
    ):
        page.fake(events)
        page.ask("And now?")
        page.ended()
        assert page.last("answer") == "Half" and error in page.last("error"), page.last("error")
    page.js("window.fetch = window.realFetch")


def check_errors(page, server, _):
    page.js("document.querySelector('#model').append(new Option('gone')); document.querySelector('#model').value = 'gone'")
    page.ask("Who are you?")
    page.ended()
    assert "`gone` does not exist" in page.last("error") and "404" in page.last("error"), page.last("error")
    page.js("document.querySelector('#model').selectedIndex = 0")
    page.set("max_tokens", "")
    page.ask(LONG)
    page.until("[...document.querySelectorAll('.answer')].at(-1).textContent.length > 20")
    server.kill()
    page.ended()
    assert "broke off" in page.last("error"), page.last("error")
    page.ask("Are you there?")
    page.ended()
    assert "cannot be reached" in page.last("error"), page.last("error")


def check_keyboard(page, *_):
    page.click("#toggle")
    for node in page.call("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"] and node["role"]["value"] in ("button", "textbox", "combobox", "spinbutton"):
            assert node["name"]["value"], f"a {node['role']['value']} without a name"
    seen = set()
    for _ in range(60):
        page.press("Tab")
        ring = page.js("(() => { const a = document.activeElement; return [a.id || a.name || a.textContent, getComputedStyle(a).outlineStyle, a.id === 'text' && getComputedStyle(a.parentNode).outlineStyle] })()")
        assert ring[1] != "none" or ring[2] not in ("none", False) or page.js("document.activeElement === document.body"), f"no ring around {ring[0]}"
        seen.add(ring[0])
    assert {"text", "model", "clear", "toggle", "system", "seed", "key", "Copy", "log"} <= seen, seen
    page.press("Escape")
    assert page.js("document.querySelector('#settings').hidden") and page.js("document.activeElement.id") == "toggle"


def check_clear(page, *_):
    n_turns = page.n_turns()
    page.click("#clear")
    assert page.n_turns() == 0 and json.loads(page.js("localStorage.getItem('firebox.chat')"))["turns"] == []
    page.click("#notice button")
    assert page.n_turns() == n_turns


def check_looks(page, _, folder):
    for is_dark in (False, True):
        page.dark(is_dark)
        paper = page.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (max(paper) < 80) == is_dark, paper
        for name, width, height, is_phone in (("wide", 1200, 800, False), ("phone", 390, 844, True)):
            page.size(width, height, is_phone)
            for view in ("chat", "settings"):
                page.js("document.querySelector('#log').scrollTop = 1e9")
                assert page.js("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
                assert page.js(f"document.querySelector({'#text' if view == 'chat' else '#toggle'!r}).getBoundingClientRect().bottom <= innerHeight")
                time.sleep(0.1)
                page.picture(folder / f"{name}-{view}-{'dark' if is_dark else 'light'}.png")
                page.click("#toggle")
    page.dark(False)
    page.size(1200, 800)


CHECKS = (check_answers, check_stop, check_reload, check_requests, check_looks, check_events, check_keyboard, check_errors, check_clear)


def main():
    firebox, model = sys.argv[1:3]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        shots = Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp(prefix="page-"))
        shots.mkdir(parents=True, exist_ok=True)
        server, url = serve(firebox, model)
        page = Chat(profile)
        try:
            page.open(url)
            for check in CHECKS:
                check(page, server, shots)
                print(f"{check.__name__.removeprefix('check_')}: yes", flush=True)
            assert not page.faults, page.faults
            outside = [r["url"] for r in page.requests if not r["url"].startswith((url, "data:"))]
            assert not outside, outside
            print(f"no fault on the console, no request to elsewhere; pictures in {shots}")
        finally:
            page.process.kill()
            server.kill()
            page.process.wait(), server.wait()


main()

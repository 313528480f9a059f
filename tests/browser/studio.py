"""What the scripts share: a browser that notes everything that must not happen, and a client of both APIs.

Every script is started as `SCRIPT URL CHROMIUM FOLDER`: the coordinator, the browser, and a scratch folder that holds
`model.pt` and `payload.tar.gz`.
"""

import contextlib
import json
import pathlib
import sys
import time
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

URL, CHROMIUM, FOLDER = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
LIMIT_MS = 60_000
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}

expect.set_options(timeout=LIMIT_MS)


@contextlib.contextmanager
def browser():
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium's own sandbox does not start.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


class Watched:
    """A page, and what it did that no page may do."""

    def __init__(self, context, own: str = URL):
        self.page: Page = context.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.own = own
        self.wrong: list[str] = []
        self.expects_status = None
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def _console(self, message):
        # Chromium writes a line for every answer that is no success, also for the ones that are asked for.
        expected = self.expects_status and f"status of {self.expects_status}" in message.text
        if message.type in ("error", "warning") and not expected:
            self.wrong.append(f"console: {message.text}")

    def _request(self, request):
        if not request.url.startswith((self.own, "data:", "about:")):
            self.wrong.append(f"request to elsewhere: {request.url}")

    def _response(self, response):
        if response.status >= 400 and response.status != self.expects_status:
            self.wrong.append(f"{response.status} for {response.url}")

    def open(self, path: str, status: int = 200) -> Page:
        self.expects_status = status if status >= 400 else None
        answer = self.page.goto(URL + path)
        assert answer.status == status, f"{path} answered {answer.status}, not {status}"
        return self.page

    def nothing_wrong(self):
        assert not self.wrong, "\n".join(self.wrong)


@contextlib.contextmanager
def watched(chromium, **options):
    """A page in a context of its own; what it did wrong fails the script at the end."""
    context = chromium.new_context(**({"viewport": WIDE} | options))
    try:
        page = Watched(context)
        yield page
        page.nothing_wrong()
    finally:
        context.close()


def accessible(page: Page, what: str):
    """No rule of axe is broken."""
    found = Axe().run(page)
    broken = [
        f"{one['id']}: {one['help']}\n    " + "\n    ".join(node["html"][:200] for node in one["nodes"][:5])
        for one in found.response["violations"]
    ]
    assert not broken, f"{what}:\n" + "\n".join(broken)


def fits(page: Page, what: str):
    """The page does not scroll sideways; wide tables scroll in their own frame."""
    width, inner = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    if width <= inner:
        return
    beyond = page.evaluate(
        """() => [...document.querySelectorAll('main *, header *')].filter((one) =>
            one.getBoundingClientRect().right > window.innerWidth + 1 && !one.closest('.scroll') && !one.closest('pre')
            && !one.closest('svg')).map((one) => one.outerHTML.slice(0, 120)).slice(0, 5)"""
    )
    raise AssertionError(f"{what} is {width} px wide in {inner} px: {beyond}")


def sagemaker(operation: str, document: dict) -> dict:
    """The SageMaker API, as any client of AWS's would call it on this machine."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"SageMaker.{operation}"}
    request = urllib.request.Request(URL, json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "{}")


def until(what: str, holds, limit_s: float = 60.0):
    """Waits for a level."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited too long for {what}")

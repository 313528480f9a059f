"""Every page and state: what it says, whether it is accessible in light and in dark, and whether it fits.

usage: looks.py URL CHROMIUM FOLDER EMPTY_URL EMPTY_FOLDER GUARDED_URL SNAPSHOTS

With ASSAY_UPDATE_SNAPSHOTS=1 what pages say is written down instead of compared; with ASSAY_SCREENSHOTS=DIR pictures of
all of them are taken as well.
"""

import difflib
import os
import pathlib
import re
import sqlite3
import sys

from studio import NARROW, URL, WIDE, Watched, accessible, browser, expect, fits

EMPTY, EMPTY_FOLDER, GUARDED, SNAPSHOTS = sys.argv[4], sys.argv[5], sys.argv[6], pathlib.Path(sys.argv[7])
PICTURES = os.environ.get("ASSAY_SCREENSHOTS")

# Name, coordinator, path, status.
STATES = [
    ("jobs", URL, "/jobs", 200),
    ("jobs-filtered-to-nothing", URL, "/jobs?q=nothing-is-called-so", 200),
    ("jobs-first-run", EMPTY, "/jobs", 200),
    ("new-job", URL, "/jobs/new", 200),
    ("new-job-first-run", EMPTY, "/jobs/new", 200),
    ("pending", EMPTY, "/jobs/waiting", 200),
    ("running", URL, "/jobs/held-running", 200),
    ("stopped", URL, "/jobs/held-stopped", 200),
    ("results", URL, "/jobs/ranked", 200),
    ("results-by-goals", URL, "/jobs/ranked?cost=high&latency=moderate&throughput=lowest&demand=40000/min", 200),
    ("failed", URL, "/jobs/broken", 200),
    ("nothing-meets-the-constraints", URL, "/jobs/too-strict", 200),
    ("unpriced", URL, "/jobs/unpriced", 200),
    ("details", URL, "/jobs/ranked/details", 200),
    ("trial", URL, "/jobs/ranked/trials/1", 200),
    ("trial-failed", URL, "/jobs/broken/trials/1", 200),
    ("models-first-run", EMPTY, "/models", 200),
    ("models", URL, "/models", 200),
    ("model-group", URL, "/models/vision", 200),
    ("model-version", URL, "/models/vision/1", 200),
    ("compare-nothing", URL, "/compare", 200),
    ("compare", URL, "/compare?a=ranked&b=ranked-again", 200),
    ("compare-unlike", URL, "/compare?a=ranked&b=unpriced", 200),
    ("agents", URL, "/agents", 200),
    ("agents-first-run", EMPTY, "/agents", 200),
    ("agent", URL, "/agents/known", 200),
    ("prices", URL, "/prices?q=own", 200),
    ("prices-filtered-to-nothing", URL, "/prices?q=nothing-is-called-so", 200),
    ("help", URL, "/help", 200),
    ("not-found", URL, "/jobs/nothing-is-called-so", 404),
    ("not-understood", URL, "/jobs/ranked?demand=lots", 400),
    ("sign-in", GUARDED, "/login", 200),
    ("sign-in-failed", GUARDED, "/login", 401),
    ("fault", EMPTY, "/jobs/waiting", 500),
]

CHANGING = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
    (r"[0-9a-f]{64}", "SHA256"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "REQUEST"),
    (r"http://127\.0\.0\.1:\d+", "URL"),
    (r"file:///\S*?/(model\.pt|payload\.tar\.gz)", r"FOLDER/\1"),
    (r"after \d+:\d\d", "after MINUTES"),
    (r"vision-1-\d{8}-\d{6}", "vision-1-TIME"),
    (r"Assay \d+\.\d+\.\d+", "Assay VERSION"),
]


def as_kept(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    return text + "\n"


def says_what_it_said(page, name: str) -> str | None:
    said, path = as_kept(page.locator("body").aria_snapshot()), SNAPSHOTS / f"{name}.yml"
    if os.environ.get("ASSAY_UPDATE_SNAPSHOTS"):
        path.write_text(said)
        return None
    kept = path.read_text() if path.exists() else ""
    if said == kept:
        return None
    changed = difflib.unified_diff(kept.splitlines(), said.splitlines(), "kept", "said", lineterm="", n=2)
    return f"{name} says something else (ASSAY_UPDATE_SNAPSHOTS=1 keeps it):\n" + "\n".join(changed)


def picture(page, name: str, look: str):
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}-{look}.png", full_page=True)


def open_state(studio: Watched, state):
    name, base, path, status = state
    studio.own = base
    studio.expects_status = status if status >= 400 else None
    page = studio.page
    if name == "sign-in-failed":
        page.goto(base + path)
        page.get_by_label("Access token").fill("none of its tokens")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert").filter(has_text="no access token")).to_be_visible()
        return page
    if name == "fault":
        damage_the_store()
    answer = page.goto(base + path)
    assert answer.status == status, f"{path} answered {answer.status}, not {status}"
    return page


def damage_the_store():
    """As another program might."""
    with sqlite3.connect(f"{EMPTY_FOLDER}/data/assay.db", timeout=10) as store:
        store.execute("update job set spec_json = '{}'")


def looked_at(studio: Watched, inspected: Watched, state) -> list[str]:
    """What is wrong with a state."""
    name, wrong = state[0], []

    def noted(check, *arguments):
        try:
            found = check(*arguments)
        except AssertionError as error:
            found = str(error)
        if found:
            wrong.append(found)

    page = open_state(studio, state)
    noted(says_what_it_said, page, name)
    picture(page, name, "1280-light")
    noted(fits, page, f"{name} at 1280 px")
    page.set_viewport_size(NARROW)
    noted(fits, page, f"{name} at 390 px")
    picture(page, name, "390-light")
    page.emulate_media(color_scheme="dark")
    picture(page, name, "390-dark")
    page.set_viewport_size(WIDE)
    picture(page, name, "1280-dark")
    page.emulate_media(color_scheme="light", forced_colors="active")
    picture(page, name, "1280-forced")
    page.emulate_media(color_scheme="light", forced_colors="none")
    if len(page.pdf()) < 1000:
        wrong.append(f"{name} does not print")
    # axe is put into the page, which its policy does not allow.
    page = open_state(inspected, state)
    noted(accessible, page, f"{name}, light")
    page.emulate_media(color_scheme="dark")
    noted(accessible, page, f"{name}, dark")
    page.emulate_media(color_scheme="light")
    return wrong


def a_lost_stream_says_so(chromium):
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    page.route("**/events?*", lambda route: route.abort())
    page.goto(f"{URL}/jobs/held-running")
    expect(page.get_by_text("The connection to the coordinator is lost.")).to_be_visible()
    context.close()


def main():
    wrong = []
    with browser() as chromium:
        studio = Watched(chromium.new_context(viewport=WIDE))
        inspected = Watched(chromium.new_context(viewport=WIDE, bypass_csp=True))
        for state in STATES:
            wrong += looked_at(studio, inspected, state)
        wrong += studio.wrong
        a_lost_stream_says_so(chromium)
    known = {f"{state[0]}.yml" for state in STATES}
    wrong += [f"{path.name} belongs to no state" for path in SNAPSHOTS.glob("*.yml") if path.name not in known]
    assert not wrong, "\n".join(wrong)


if __name__ == "__main__":
    main()

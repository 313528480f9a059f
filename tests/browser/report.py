"""A report as a file: opened from a disk it ranks again, and asks nobody for anything."""

import sys

from studio import NARROW, URL, WIDE, Watched, accessible, browser, expect, fits

REPORT = f"file://{sys.argv[4]}"


def open_report(context, fragment: str = "") -> Watched:
    studio = Watched(context, own="file://")
    studio.page.goto(REPORT + fragment)
    return studio


def ranked(page) -> list[str]:
    return page.locator("tr[data-entry] td:nth-child(2)").all_inner_texts()


def ranks_again(chromium):
    context = chromium.new_context(viewport=WIDE, offline=True)
    studio = open_report(context)
    page = studio.page
    by_cost = ranked(page)
    assert len(by_cost) == 10, by_cost
    page.get_by_label("Cost", exact=True).select_option("lowest")
    page.get_by_label("Latency", exact=True).select_option("lowest")
    page.get_by_label("Throughput", exact=True).select_option("highest")
    by_throughput = ranked(page)
    assert by_throughput != by_cost, by_cost
    assert by_throughput[0].startswith("own.fast"), by_throughput
    expect(page.locator("[data-first]:visible strong")).to_have_text(by_throughput[0].rstrip("*"))
    assert "throughput=highest" in page.url, page.url
    # Whoever opens the address finds the same order.
    again = open_report(context, page.url[page.url.index("#"):])
    assert ranked(again.page) == by_throughput
    for one in (studio, again):
        one.nothing_wrong()
    context.close()
    return by_throughput


def as_the_coordinator_ranks(chromium, by_throughput: list[str]):
    context = chromium.new_context(viewport=WIDE)
    studio = Watched(context)
    page = studio.open("/jobs/reported?cost=lowest&latency=lowest&throughput=highest")
    assert ranked(page) == by_throughput
    page.goto(f"{URL}/jobs/reported/report.html")
    page.get_by_label("Throughput", exact=True).select_option("highest")
    expect(page.get_by_text("Ranked by the goals.")).to_be_visible()
    studio.nothing_wrong()
    context.close()


def in_every_look(chromium):
    for scheme in ("light", "dark"):
        for viewport in (WIDE, NARROW):
            context = chromium.new_context(viewport=viewport, color_scheme=scheme)
            page = open_report(context).page
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
            fits(page, f"the report at {viewport['width']} px")
            context.close()
        context = chromium.new_context(viewport=WIDE, color_scheme=scheme, bypass_csp=True)
        accessible(open_report(context).page, f"the report, {scheme}")
        context.close()


def main():
    with browser() as chromium:
        as_the_coordinator_ranks(chromium, ranks_again(chromium))
        in_every_look(chromium)


if __name__ == "__main__":
    main()

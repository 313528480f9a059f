"""Jobs by form: from a file, with wrong fields, without scripts, and by keyboard alone."""

from studio import FOLDER, browser, expect, watched

MODEL = str(FOLDER / "model.pt")


def by_file(chromium, name: str, scripts: bool):
    with watched(chromium, java_script_enabled=scripts) as studio:
        page = studio.open("/jobs")
        page.get_by_role("link", name="New job").click()
        page.get_by_label("A TorchScript file").set_input_files(MODEL)
        page.get_by_label("Declared inputs").fill("float32[1,64]")
        page.get_by_label("More types").fill("own.small=1x2GiB@0.05, own.large=2x4GiB@0.09")
        page.get_by_label("Constraints, one in each line").fill("p95<=50ms")
        page.get_by_label("Quickly").check()
        page.get_by_label("Name of the job").fill(name)
        page.get_by_role("button", name="Create the job").click()
        page.wait_for_url(f"**/jobs/{name}")
        if scripts:
            expect(page.get_by_role("heading", name="Recommendation")).to_be_visible()
        else:
            for _ in range(60):
                if page.get_by_role("heading", name="Recommendation").count():
                    break
                page.wait_for_timeout(500)
                page.reload()
            page.get_by_label("Latency", exact=True).select_option("highest")
            page.get_by_role("button", name="Rank again").click()
            expect(page.get_by_text("Ranked by the goals")).to_be_visible()
        expect(page.locator("tr.best")).to_contain_text("own.large")


def wrong_fields(chromium, scripts: bool):
    """What was typed is there again, and the model that arrived need not be sent twice."""
    with watched(chromium, java_script_enabled=scripts) as studio:
        page = studio.open("/jobs/new")
        studio.expects_status = None if scripts else 400
        page.get_by_role("button", name="Create the job").click()
        expect(page.get_by_role("alert").filter(has_text="There is no model to measure")).to_be_visible()
        page.get_by_label("A TorchScript file").set_input_files(MODEL)
        page.get_by_label("Declared inputs").fill("float32[1,64]")
        page.get_by_label("Constraints, one in each line").fill("p95 below 50")
        page.get_by_role("button", name="Create the job").click()
        expect(page.get_by_role("alert").filter(has_text="p95 below 50")).to_be_visible()
        expect(page.get_by_label("Declared inputs")).to_have_value("float32[1,64]")
        expect(page.get_by_label("Constraints, one in each line")).to_have_value("p95 below 50")
        expect(page.get_by_label("One that is here already")).not_to_have_value("")
        studio.expects_status = None
        page.get_by_label("Constraints, one in each line").fill("p95<=50ms")
        page.get_by_role("button", name="Show the plan").click()
        expect(page.get_by_text("Nothing has been started.")).to_be_visible()
        page.get_by_label("Name of the job").fill(f"mended-{scripts}".lower())
        page.get_by_role("button", name="Create the job").click()
        page.wait_for_url(f"**/jobs/mended-{scripts}".lower())


def by_keyboard(chromium):
    """From the skip link over the navigation to another ranking without a mouse."""
    with watched(chromium) as studio:
        page = studio.open("/jobs")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "by-file":
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/jobs/by-file")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "goal-latency":
                break
        page.keyboard.press("End")
        expect(page.get_by_text("Ranked by the goals")).to_be_visible()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", "what has the focus is not to be seen"


def main():
    with browser() as chromium:
        by_file(chromium, "by-file", scripts=True)
        by_file(chromium, "by-file-plainly", scripts=False)
        wrong_fields(chromium, scripts=True)
        wrong_fields(chromium, scripts=False)
        by_keyboard(chromium)


if __name__ == "__main__":
    main()

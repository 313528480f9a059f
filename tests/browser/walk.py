"""The walk through Studio: registry, version, *Get recommendations*, live, results, details, stop."""

from studio import FOLDER, WIDE, browser, expect, sagemaker, watched

GROUP = "vision"


def register():
    sagemaker("CreateModelPackageGroup", {"ModelPackageGroupName": GROUP, "ModelPackageGroupDescription": "sees"})
    package = {
        "ModelPackageGroupName": GROUP,
        "ModelPackageDescription": "the first",
        "InferenceSpecification": {
            "Containers": [{
                "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1",
                "ModelDataUrl": f"file://{FOLDER}/model.pt",
                "ModelInput": {"DataInputConfig": '{"input": [1, 64]}'},
                "Framework": "PYTORCH",
            }],
            "SupportedContentTypes": ["application/x-npy"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": ["ml.c5.large", "ml.m5.large"],
        },
        "Domain": "COMPUTER_VISION",
        "Task": "OTHER",
        "SamplePayloadUrl": f"file://{FOLDER}/payload.tar.gz",
    }
    sagemaker("CreateModelPackage", package)


def to_the_version(page):
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_role("link", name=GROUP).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(GROUP)
    page.get_by_role("link", name="version 1", exact=True).click()
    expect(page.get_by_text("COMPUTER_VISION")).to_be_visible()


def get_recommendations(page, name: str):
    page.get_by_label("Name of the job").fill(name)
    page.get_by_role("button", name="Get recommendations").click()
    page.wait_for_url(f"**/jobs/{name}")


def main():
    with browser() as chromium, watched(chromium, viewport=WIDE) as studio:
        page = studio.open("/models")
        expect(page.get_by_text("No model is registered yet")).to_be_visible()
        register()
        to_the_version(page)
        get_recommendations(page, "walked")

        # Live: what happens shows without a visit.
        expect(page.get_by_text("You can close this page; the job goes on.")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_role("heading", name="Best so far")).to_be_visible()
        expect(page.get_by_role("heading", name="Recommendation")).to_be_visible()
        expect(page.locator(".head .badge")).to_have_text("completed")
        expect(page.get_by_role("button", name="Stop the job")).to_have_count(0)

        # Goals rank again at once, and the address says so to whoever gets it.
        expect(page.get_by_text("Ranked by cost per inference.")).to_be_visible()
        page.get_by_label("Latency", exact=True).select_option("highest")
        expect(page.get_by_text("Ranked by the goals")).to_be_visible()
        assert "latency=highest" in page.url, page.url
        first = page.locator("tr.best").inner_text()
        page.reload()
        expect(page.get_by_label("Latency", exact=True)).to_have_value("highest")
        assert page.locator("tr.best").inner_text() == first
        page.get_by_label("Demand, such as 40000/min").fill("40000/min")
        page.get_by_role("button", name="Rank again").click()
        expect(page.get_by_role("heading", name="Cheapest fleet for this demand")).to_be_visible()
        for title in ["On this machine", "Kubernetes", "SageMaker, with boto3"]:
            expect(page.get_by_text(title, exact=True)).to_be_visible()

        page.get_by_role("link", name="Details").click()
        expect(page.get_by_role("heading", name="Event log")).to_be_visible()
        page.get_by_role("link", name="Results", exact=True).click()
        page.locator("tr.best a").click()
        expect(page.get_by_role("heading", name="Steps")).to_be_visible()

        # The version knows its jobs, and another one is stopped.
        to_the_version(page)
        expect(page.get_by_role("link", name="walked")).to_be_visible()
        page.get_by_label("Name of the job").fill("walked")
        studio.expects_status = 400
        page.get_by_role("button", name="Get recommendations").click()
        expect(page.get_by_role("alert").filter(has_text="already exists")).to_be_visible()
        studio.expects_status = None
        get_recommendations(page, "stopped")
        page.get_by_role("button", name="Stop the job").click()
        expect(page.locator(".head .badge")).to_have_text("stopped")


if __name__ == "__main__":
    main()

"""`right_size()` of the `sagemaker` SDK: Default, and with known figures Advanced.

Its sleeps between two looks are shortened; everything else is as published.

usage: sdk_flow.py URL MODEL PAYLOAD real|known
"""

import os
import sys
import time

import flow

url, model, payload, figures = sys.argv[1:]
os.environ.clear()
os.environ.update(flow.environment(url))

import boto3  # noqa: E402  (the environment is what configures it)
import sagemaker  # noqa: E402
from sagemaker.inference_recommender.inference_recommender_mixin import Phase  # noqa: E402
from sagemaker.model import Model  # noqa: E402
from sagemaker.parameter import CategoricalParameter  # noqa: E402

sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.5))
sm = boto3.client("sagemaker")


def model_named(name: str) -> Model:
    session = sagemaker.Session(boto3.Session(), sagemaker_client=sm, default_bucket="assay")
    return Model(
        image_uri=flow.IMAGE, model_data=model, role=flow.ROLE, name=name, sagemaker_session=session
    )


def outcome(sized: Model, job_name: str) -> list[dict]:
    """The recommendations; none only if the job says that other load spoiled what it measured."""
    found = sized.inference_recommendations
    if found:
        for one in found:
            flow.check_recommendation(job_name, one, figures)
        ranked = sorted(found, key=lambda one: one["Metrics"]["CostPerInference"], reverse=True)
        assert found == ranked, "version 2 deploys the last, so the cheapest must be the last"
        return found
    assert figures == "real", job_name
    steps = sm.list_inference_recommendations_job_steps(JobName=job_name)["Steps"]
    reasons = [step["InferenceBenchmark"].get("FailureReason") for step in steps]
    assert any(flow.is_disturbed(reason) for reason in reasons), reasons
    print("disturbed:", reasons)
    return []


default = model_named("sdk-default").right_size(
    sample_payload_url=payload,
    supported_content_types=["application/x-npy"],
    supported_instance_types=["ml.c5.large"],
    framework="PYTORCH",
    job_name="sdk-default",
    job_duration_in_seconds=flow.BEGINS_WITHIN_S,
)
found = outcome(default, "sdk-default")
tags = sm.list_tags(ResourceArn=default.inference_recommender_job_results["JobArn"])["Tags"]
assert {"Key": "ClientType", "Value": "PythonSDK-RightSize"} in tags, tags

if figures == "real":
    # A load of phases is judged every 20 s at the soonest; Default has measured.
    sys.exit()
advanced = model_named("sdk-advanced").right_size(
    sample_payload_url=payload,
    supported_content_types=["application/x-npy"],
    framework="PYTORCH",
    job_name="sdk-advanced",
    hyperparameter_ranges=[
        {
            "instance_types": CategoricalParameter(["ml.c5.large"]),
            "OMP_NUM_THREADS": CategoricalParameter(["1"]),
        }
    ],
    phases=[Phase(duration_in_seconds=120, initial_number_of_users=2, spawn_rate=3)],
    traffic_type="PHASES",
    max_invocations=30,
    model_latency_thresholds=[],
    max_tests=2,
    max_parallel_tests=1,
)
found = outcome(advanced, "sdk-advanced")
values = {
    parameter["Value"]
    for one in found
    for parameter in one["ModelConfiguration"]["EnvironmentParameters"]
    if parameter["Key"] == "OMP_NUM_THREADS"
}
assert values == {"1"}, values
echoed = advanced.inference_recommender_job_results["InputConfig"]
assert echoed["TrafficPattern"]["Phases"][0]["InitialNumberOfUsers"] == 2, echoed
print("recommendations:", len(found))

"""What the scripts beside this file share: names of statuses, waiting, and what a recommendation must be."""

import os
import re
import struct
import subprocess
import time

ROLE = "arn:aws:iam::123456789012:role/recommender"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/assay-host:latest"
# Long enough for one trial to begin, so a job measures one candidate.
BEGINS_WITHIN_S = 5
RANK = {"PENDING": 0, "IN_PROGRESS": 1, "STOPPING": 2, "COMPLETED": 3, "FAILED": 3, "STOPPED": 3}
LIMIT_S = 150
# What the agent of known figures reports: 40 requests per second and vCPU, p95 of 27 ms, and what is busy
# grows with the load.
KNOWN = {"MaxInvocations": 2 * 40 * 60, "ModelLatency": 27_000, "CpuUtilization": 100.0}


def environment(url: str) -> dict[str, str]:
    """What a team sets to come here instead of to AWS, and nothing else."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }


def container_config(payload: str) -> dict:
    """That of the page."""
    return {
        "Domain": "COMPUTER_VISION",
        "Framework": "PYTORCH",
        "FrameworkVersion": "1.7.1",
        "NearestModelName": "resnet18",
        "PayloadConfig": {"SamplePayloadUrl": payload, "SupportedContentTypes": ["application/x-npy"]},
        "DataInputConfig": "[[1,64]]",
        "Task": "IMAGE_CLASSIFICATION",
        "SupportedInstanceTypes": ["ml.c5.large"],
    }


def until(describe, statuses: set[str]) -> dict:
    """Describes a job until it has one of the statuses; what is seen only moves forward."""
    deadline = time.monotonic() + LIMIT_S
    seen = [-1]
    while True:
        job = describe()
        rank = RANK[job["Status"]]
        assert rank >= seen[-1], (job["Status"], seen)
        seen.append(rank)
        if job["Status"] in statuses:
            return job
        assert rank < 3, f"ended {job['Status']} instead of {statuses}: {job.get('FailureReason')}"
        assert time.monotonic() < deadline, f"still {job['Status']} after {LIMIT_S} s"
        time.sleep(0.3)


def f32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def check_recommendation(job: str, found: dict, figures: str) -> None:
    metrics, endpoint = found["Metrics"], found["EndpointConfiguration"]
    assert figures == "real" or {name: metrics[name] for name in KNOWN} == KNOWN, metrics
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,63}/\w{8}", found["RecommendationId"]), found
    assert found["RecommendationId"].startswith(f"{job}/")
    assert endpoint["EndpointName"] and endpoint["VariantName"] and endpoint["InitialInstanceCount"] >= 1
    assert metrics["MaxInvocations"] > 0 and metrics["ModelLatency"] > 0, metrics
    assert metrics["CostPerHour"] == f32(metrics["CostPerHour"]) > 0, metrics
    expected = f32(metrics["CostPerHour"] / (60 * metrics["MaxInvocations"]))
    assert metrics["CostPerInference"] == expected, (metrics, expected)
    assert 0 < metrics["CpuUtilization"] <= 101, metrics
    assert found["InvocationStartTime"] < found["InvocationEndTime"], found
    parameters = {one["Key"]: one["Value"] for one in found["ModelConfiguration"]["EnvironmentParameters"]}
    assert int(parameters["OMP_NUM_THREADS"]) >= 1, parameters


def is_disturbed(reason: str | None) -> bool:
    """The job did measure, and says itself that other load on this machine spoiled the figures."""
    return reason is not None and "measurement invalid" in reason


def assay(program: str, url: str, *arguments: str) -> str:
    command = [program, "--server", url, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode in (0, 5), (command, ended.stdout, ended.stderr)
    return ended.stdout

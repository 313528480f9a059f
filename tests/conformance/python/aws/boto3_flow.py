"""The documentation's boto3 flow, and what may go wrong in it.

usage: boto3_flow.py URL S3_MODEL S3_PAYLOAD FILE_MODEL FILE_PAYLOAD ASSAY real|known
"""

import datetime
import os
import re
import sys

import flow
import shapes

url, s3_model, s3_payload, file_model, file_payload, assay, figures = sys.argv[1:]
os.environ.clear()
os.environ.update(flow.environment(url))

import boto3  # noqa: E402  (the environment is what configures it)
from botocore.exceptions import ClientError  # noqa: E402

sm = boto3.client("sagemaker")
logs = boto3.client("logs")
answered_sm, answered_logs = shapes.watch(sm), shapes.watch(logs)


def refused(code: str, text: str, call, **members) -> None:
    try:
        call(**members)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (error, code)
        assert text in str(error), (str(error), text)
        assert error.response["ResponseMetadata"]["RetryAttempts"] == 0, error
    else:
        raise AssertionError(f"{members} was accepted")


def describe(job_name: str) -> dict:
    return sm.describe_inference_recommendations_job(JobName=job_name)


def by_model_package() -> None:
    sm.create_model_package_group(ModelPackageGroupName="page")
    model_package_arn = sm.create_model_package(
        ModelPackageGroupName="page",
        Domain="COMPUTER_VISION",
        Task="IMAGE_CLASSIFICATION",
        SamplePayloadUrl=s3_payload,
        InferenceSpecification={
            "Containers": [
                {
                    "Image": flow.IMAGE,
                    "ModelDataUrl": s3_model,
                    "Framework": "PYTORCH",
                    "Environment": {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "MODEL_LABELS": "cat,dog"},
                }
            ],
            "SupportedContentTypes": ["application/x-npy"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": ["ml.c5.large"],
        },
    )["ModelPackageArn"]
    job_name = "by-package"
    created = sm.create_inference_recommendations_job(
        JobName=job_name,
        JobType="Default",
        RoleArn=flow.ROLE,
        InputConfig={
            "ModelPackageVersionArn": model_package_arn,
            "JobDurationInSeconds": flow.BEGINS_WITHIN_S,
        },
        Tags=[{"Key": "team", "Value": "vision"}],
    )
    assert created["JobArn"].endswith(f":inference-recommendations-job/{job_name}"), created
    response = flow.until(lambda: describe(job_name), {"COMPLETED", "FAILED"})
    assert response["InputConfig"]["ModelPackageVersionArn"] == model_package_arn
    assert response["RoleArn"] == flow.ROLE and response["CompletionTime"] >= response["CreationTime"]
    shown = flow.assay(assay, url, "jobs", "describe", job_name, "-o", "json")
    assert '"MODEL_LABELS": "cat,dog"' in shown, shown
    check_steps(job_name, response)
    check_logs(job_name, response["Status"])
    if not check_recommendations(job_name, response):
        return
    check_scaling(job_name, response["InferenceRecommendations"][0]["RecommendationId"])


def check_recommendations(job_name: str, response: dict) -> bool:
    found = response.get("InferenceRecommendations")
    if not found:
        assert figures == "real", response
        reasons = [step["InferenceBenchmark"].get("FailureReason") for step in steps_of(job_name)]
        assert any(flow.is_disturbed(reason) for reason in reasons), (response, reasons)
        print("disturbed:", reasons)
        return False
    for one in found:
        flow.check_recommendation(job_name, one, figures)
        assert one["EndpointConfiguration"]["InstanceType"] == "ml.c5.large"
    costs = [one["Metrics"]["CostPerInference"] for one in found]
    assert costs == sorted(costs), costs
    again = describe(job_name)["InferenceRecommendations"]
    assert [one["RecommendationId"] for one in again] == [one["RecommendationId"] for one in found]
    return True


def steps_of(job_name: str, **filters) -> list[dict]:
    pages = sm.get_paginator("list_inference_recommendations_job_steps").paginate(
        JobName=job_name, PaginationConfig={"PageSize": 1}, **filters
    )
    return [step for page in pages for step in page["Steps"]]


def check_steps(job_name: str, response: dict) -> None:
    steps = steps_of(job_name)
    assert steps, response
    names = [step["InferenceBenchmark"]["EndpointConfiguration"]["EndpointName"] for step in steps]
    assert len(set(names)) == len(names), names
    for status in {step["Status"] for step in steps}:
        expected = [step for step in steps if step["Status"] == status]
        assert steps_of(job_name, Status=status, StepType="BENCHMARK") == expected, status
    for step in steps:
        assert step["Status"] in ("COMPLETED", "FAILED", "STOPPED"), step
        assert (step["Status"] == "COMPLETED") or step["InferenceBenchmark"].get("FailureReason"), step


def check_logs(job_name: str, status: str) -> None:
    group = "/aws/sagemaker/InferenceRecommendationsJobs"
    execution = f"{job_name}/execution"
    whole = logs.get_log_events(logGroupName=group, logStreamName=execution, startFromHead=True)
    lines = [event["message"] for event in whole["events"]]
    assert status.lower() in lines[-1], lines
    idle = logs.get_log_events(
        logGroupName=group, logStreamName=execution, nextToken=whole["nextForwardToken"]
    )
    assert idle["events"] == [] and idle["nextForwardToken"] == whole["nextForwardToken"], idle
    pages, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        page = logs.get_log_events(
            logGroupName=group, logStreamName=execution, startFromHead=True, limit=2, **more
        )
        pages += [event["message"] for event in page["events"]]
        if not page["events"]:
            break
        token = page["nextForwardToken"]
    assert pages == lines, (pages, lines)
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job_name}/")["logStreams"]
    names = [stream["logStreamName"] for stream in streams]
    assert execution in names and len(names) >= 2, names
    endpoint = next(name for name in names if "/Endpoint/" in name)
    events = logs.get_log_events(logGroupName=group, logStreamName=endpoint, startFromHead=True)["events"]
    assert "created" in events[0]["message"] and "Load test" in events[-1]["message"], events
    refused("ResourceNotFoundException", "log stream", logs.get_log_events, logGroupName=group,
            logStreamName="nobody/execution")
    refused("ResourceNotFoundException", "log group", logs.get_log_events, logGroupName="/aws/other",
            logStreamName=execution)
    refused("InvalidParameterException", "nextToken", logs.get_log_events, logGroupName=group,
            logStreamName=execution, nextToken="f/x")


def check_scaling(job_name: str, recommendation_id: str) -> None:
    wanted = {"InferenceRecommendationsJobName": job_name, "RecommendationId": recommendation_id}
    refused("ResourceNotFound", "no recommendation", sm.get_scaling_configuration_recommendation,
            InferenceRecommendationsJobName=job_name, RecommendationId=f"{job_name}/00000000")
    # Three quarters of what was busy with all of 80 requests per second: 60, so 3600 in a minute.
    for target in range(100, 0, -1) if figures == "real" else [75]:
        try:
            answer = sm.get_scaling_configuration_recommendation(
                TargetCpuUtilizationPerCore=target,
                ScalingPolicyObjective={"MinInvocationsPerMinute": 1, "MaxInvocationsPerMinute": 1_000_000},
                **wanted,
            )
        except ClientError as error:
            # What a machine was busy with is its own affair: the range may hold no whole per cent.
            assert figures == "real" and is_outside(target, str(error)), error
            continue
        per_instance = answer["Metric"]["InvocationsPerInstance"]
        assert figures == "real" or per_instance == 3600, answer
        scaling = answer["DynamicScalingConfiguration"]
        assert scaling["MinCapacity"] == 1
        assert scaling["MaxCapacity"] == -(-1_200_000 // per_instance), (scaling, per_instance)
        policy = scaling["ScalingPolicies"][0]["TargetTracking"]
        assert policy["TargetValue"] == per_instance, policy
        return


def is_outside(target: int, refusal: str) -> bool:
    """Whether the target lies beyond the range that the refusal tells, with one decimal."""
    told = re.search(r"outside of what was measured: (\S+) % at .* to (\S+) % at", refusal)
    lowest, highest = float(told[1]), float(told[2])
    return lowest <= highest and not lowest + 0.05 < target < highest - 0.05


def by_model_name() -> None:
    sm.create_model(
        ModelName="page-model",
        ExecutionRoleArn=flow.ROLE,
        PrimaryContainer={"Image": flow.IMAGE, "ModelDataUrl": file_model},
    )
    job_name = "by-model-name"
    sm.create_inference_recommendations_job(
        JobName=job_name,
        JobType="Default",
        RoleArn=flow.ROLE,
        InputConfig={"ModelName": "page-model", "ContainerConfig": flow.container_config(file_payload)},
    )
    shown = flow.assay(assay, url, "jobs", "list", "-o", "json")
    assert job_name in shown, shown
    flow.until(lambda: describe(job_name), {"IN_PROGRESS"})
    sm.stop_inference_recommendations_job(JobName=job_name)
    stopped = flow.until(lambda: describe(job_name), {"STOPPED"})
    assert stopped["InputConfig"]["ContainerConfig"] == flow.container_config(file_payload)
    # A second stop changes nothing.
    sm.stop_inference_recommendations_job(JobName=job_name)
    assert describe(job_name)["Status"] == "STOPPED"


def by_existing_endpoint() -> None:
    """`running` is a model host that this test has started, offered by the agent under that name."""
    job_name = "by-endpoint"
    stairs = {"DurationInSeconds": 120, "NumberOfSteps": 60, "UsersPerStep": 1}
    request = {
        "JobType": "Advanced",
        "RoleArn": flow.ROLE,
        "InputConfig": {
            "ModelName": "page-model",
            "ContainerConfig": flow.container_config(file_payload),
            "Endpoints": [{"EndpointName": "running"}],
            "TrafficPattern": {"TrafficType": "STAIRS", "Stairs": stairs},
        },
        # Enough is carried on the first stair.
        "StoppingConditions": {"MaxInvocations": 1},
    }
    sm.create_inference_recommendations_job(JobName=job_name, **request)
    response = flow.until(lambda: describe(job_name), {"COMPLETED", "FAILED"})
    assert response["InputConfig"]["Endpoints"] == [{"EndpointName": "running"}], response
    assert "InferenceRecommendations" not in response, response
    [step] = steps_of(job_name)
    benchmark = step["InferenceBenchmark"]
    assert benchmark["EndpointConfiguration"]["EndpointName"] == "running", step
    found = response.get("EndpointPerformances")
    if not found:
        assert flow.is_disturbed(benchmark.get("FailureReason")), (response, step)
        print("disturbed:", benchmark["FailureReason"])
    else:
        [one] = found
        assert one["EndpointInfo"] == {"EndpointName": "running"}, one
        assert one["Metrics"]["MaxInvocations"] > 60 and one["Metrics"]["ModelLatency"] > 0, one
        assert benchmark["EndpointMetrics"] == one["Metrics"], step
    unknown = {**request["InputConfig"], "Endpoints": [{"EndpointName": "nobody"}]}
    refused("ValidationException", 'Could not find endpoint "nobody"', sm.create_inference_recommendations_job,
            JobName="no-endpoint", **{**request, "InputConfig": unknown})
    shown = flow.assay(assay, url, "agents", "list", "-o", "json")
    assert '"running"' in shown and "127.0.0.1" not in shown, shown


def stopped_by_assay() -> None:
    job_name = "stopped-by-assay"
    sm.create_inference_recommendations_job(
        JobName=job_name,
        JobType="Default",
        RoleArn=flow.ROLE,
        InputConfig={"ModelName": "page-model", "ContainerConfig": flow.container_config(file_payload)},
    )
    flow.until(lambda: describe(job_name), {"IN_PROGRESS"})
    flow.assay(assay, url, "jobs", "stop", job_name)
    flow.until(lambda: describe(job_name), {"STOPPED"})
    flow.assay(assay, url, "jobs", "watch", job_name)


def made_by_assay() -> None:
    """`from-assay` was created with `assay`, beside these scripts, and waits for its turn."""
    job = describe("from-assay")
    assert job["RoleArn"] and job["InputConfig"]["ModelName"], job
    sm.stop_inference_recommendations_job(JobName="from-assay")
    flow.until(lambda: describe("from-assay"), {"STOPPED"})


def data_that_cannot_be_had() -> None:
    for number, (payload, text) in enumerate(
        [
            (s3_payload + ".missing", "does not exist"),
            (file_model, "wrong file type"),
            ("file:///etc/passwd", "not below a directory"),
        ]
    ):
        job_name = f"no-payload-{number}"
        sm.create_inference_recommendations_job(
            JobName=job_name,
            JobType="Default",
            RoleArn=flow.ROLE,
            InputConfig={"ModelName": "page-model", "ContainerConfig": flow.container_config(payload)},
        )
        failed = flow.until(lambda name=job_name: describe(name), {"FAILED"})
        reason = failed["FailureReason"]
        assert reason.startswith("INVALID_INPUT : 1. PayloadError") and text in reason, reason


def what_is_refused() -> None:
    create = sm.create_inference_recommendations_job
    good = {
        "JobName": "refused",
        "JobType": "Default",
        "RoleArn": flow.ROLE,
        "InputConfig": {"ModelName": "page-model", "ContainerConfig": flow.container_config(file_payload)},
    }
    refused("ResourceInUse", "already exists", create, **{**good, "JobName": "by-package"})
    refused("ResourceInUse", "already exists", create, **{**good, "JobName": "from-assay"})
    refused("ValidationException", "enum value set", create, **{**good, "JobType": "ADVANCED"})
    refused("ValidationException", "jobName", create, **{**good, "JobName": "x" * 65})
    for config, text in [
        ({"SupportedInstanceTypes": ["ml.t2.medium"]}, "Burstable instance type ml.t2.medium is not allowed"),
        ({"SupportedInstanceTypes": ["ml.nobody.large"]}, "ml.nobody.large"),
        ({"SupportedEndpointType": "Serverless"}, "Serverless"),
    ]:
        container = {**flow.container_config(file_payload), **config}
        input_config = {"ModelName": "page-model", "ContainerConfig": container}
        refused("ValidationException", text, create, **{**good, "InputConfig": input_config})
    no_model = {**good["InputConfig"], "ModelName": "nobody"}
    refused("ValidationException", "Could not find model", create, **{**good, "InputConfig": no_model})
    for operation in (
        sm.describe_inference_recommendations_job,
        sm.stop_inference_recommendations_job,
        sm.list_inference_recommendations_job_steps,
    ):
        refused("ResourceNotFound", "Could not find", operation, JobName="nobody")
    try:
        describe("nobody")
    except sm.exceptions.ResourceNotFound:
        pass


def listing() -> None:
    paginator = sm.get_paginator("list_inference_recommendations_jobs")

    def names(**filters) -> list[str]:
        pages = paginator.paginate(PaginationConfig={"PageSize": 2}, **filters)
        return [job["JobName"] for page in pages for job in page["InferenceRecommendationsJobs"]]

    everything = names(SortBy="Name", SortOrder="Ascending")
    assert everything == sorted(everything) and len(everything) == len(set(everything)), everything
    assert names(SortBy="Name", SortOrder="Descending") == everything[::-1]
    by_time = names(SortBy="CreationTime", SortOrder="Ascending")
    assert by_time[0] == "from-assay" and set(by_time) == set(everything), by_time
    assert set(names(StatusEquals="FAILED")) >= {"no-payload-0", "no-payload-1", "no-payload-2"}
    assert "by-model-name" in names(StatusEquals="STOPPED")
    assert names(StatusEquals="DELETED") == []
    assert names(NameContains="by-model") == ["by-model-name"]
    assert set(names(ModelNameEquals="page-model")) == set(everything) - {"by-package", "from-assay"}
    # boto3 sends whole seconds.
    later = names(CreationTimeAfter=describe(by_time[1])["CreationTime"] + datetime.timedelta(seconds=1))
    assert by_time[0] not in later and by_time[1] not in later and by_time[-1] in later, later
    statuses = sm.list_inference_recommendations_jobs(SortBy="Status", SortOrder="Ascending")
    seen = [job["Status"] for job in statuses["InferenceRecommendationsJobs"]]
    assert seen == sorted(seen), seen
    refused("ValidationException", "NextToken", sm.list_inference_recommendations_jobs, NextToken="forged")


if figures == "known":
    by_model_package()
else:
    made_by_assay()
    by_model_package()
    by_model_name()
    by_existing_endpoint()
    stopped_by_assay()
    data_that_cannot_be_had()
    what_is_refused()
    listing()
print("answered:", ", ".join(sorted(answered_sm | answered_logs)))

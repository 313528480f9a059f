"""boto3 as published, many clients at once, for `cargo xtask bench api`. Prints one JSON object.

usage: clients.py load URL PROCESSES CLIENTS JOBS PAYLOAD_URL
       clients.py check URL

`load`: PROCESSES × CLIENTS clients, each in a thread of its own, create JOBS jobs each and describe and list them
in between. `check`: what one client is listed and can describe.
"""

import json
import multiprocessing
import os
import sys
import threading
import time

import boto3
from botocore.config import Config

# Each answer counts as it comes: a retry would hide a refusal.
CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=60)
ROLE = "arn:aws:iam::123456789012:role/recommender"
MODEL = "bench"
DESCRIBES_PER_JOB = 5


def environment(url: str) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        NO_PROXY="127.0.0.1",
    )


class Client:
    """One client with its connection, and what it saw."""

    def __init__(self, session, name: str, jobs: int, payload_url: str):
        self.client = session.client("sagemaker", config=CONFIG)
        self.name, self.jobs, self.payload_url = name, jobs, payload_url
        self.seconds: dict[str, list[float]] = {"Create": [], "Describe": [], "List": []}
        self.created: list[str] = []
        self.failures: list[str] = []

    def call(self, what: str, operation, **members) -> dict:
        begun = time.perf_counter()
        try:
            return operation(**members)
        except Exception as error:
            self.failures.append(f"{what}: {error!r}"[:300])
            return {}
        finally:
            self.seconds[what].append(time.perf_counter() - begun)

    def run(self) -> None:
        for number in range(self.jobs):
            name = f"{self.name}-{number}"
            answer = self.call(
                "Create",
                self.client.create_inference_recommendations_job,
                JobName=name,
                JobType="Default",
                RoleArn=ROLE,
                InputConfig={
                    "ModelName": MODEL,
                    "ContainerConfig": {
                        "PayloadConfig": {"SamplePayloadUrl": self.payload_url},
                        "DataInputConfig": "[[1,64]]",
                        "SupportedInstanceTypes": ["ml.c5.large", "ml.m5.large"],
                    },
                },
            )
            if answer:
                self.created.append(name)
            for _ in range(DESCRIBES_PER_JOB):
                job = self.call(
                    "Describe", self.client.describe_inference_recommendations_job, JobName=name
                )
                if job and (job["JobName"], job["Status"]) != (name, "PENDING"):
                    self.failures.append(f"Describe {name}: {job['JobName']} {job['Status']}")
            page = self.call("List", self.client.list_inference_recommendations_jobs, MaxResults=100)
            if page and not page["InferenceRecommendationsJobs"]:
                self.failures.append("List: nothing")


def one_process(process: int, clients: int, jobs: int, payload_url: str, ready, go, results) -> None:
    session = boto3.session.Session()
    many = [Client(session, f"job-{process}-{number}", jobs, payload_url) for number in range(clients)]
    threads = [threading.Thread(target=client.run) for client in many]
    ready.wait()
    go.wait()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put([(one.seconds, one.created, one.failures) for one in many])


def load(processes: int, clients: int, jobs: int, payload_url: str) -> dict:
    ready, go, results = multiprocessing.Barrier(processes + 1), multiprocessing.Event(), multiprocessing.Queue()
    started = [
        multiprocessing.Process(
            target=one_process, args=(number, clients, jobs, payload_url, ready, go, results)
        )
        for number in range(processes)
    ]
    for process in started:
        process.start()
    ready.wait()
    # Whoever started us measures from here on.
    print("ready", flush=True)
    go.set()
    begun = time.perf_counter()
    seen = [one for _ in started for one in results.get()]
    seconds = time.perf_counter() - begun
    for process in started:
        process.join()
    return {
        "seconds": seconds,
        "calls": {
            what: sorted(one for client, _, _ in seen for one in client[what])
            for what in ("Create", "Describe", "List")
        },
        "created": sorted(name for _, created, _ in seen for name in created),
        "failures": [failure for _, _, failures in seen for failure in failures],
    }


def check() -> dict:
    client = boto3.client("sagemaker", config=CONFIG)
    pages = client.get_paginator("list_inference_recommendations_jobs").paginate()
    listed = [job["JobName"] for page in pages for job in page["InferenceRecommendationsJobs"]]
    described = [
        client.describe_inference_recommendations_job(JobName=name)["JobName"] for name in listed
    ]
    return {"listed": listed, "described": described}


def main() -> None:
    what, url, *rest = sys.argv[1:]
    environment(url)
    if what == "load":
        *counts, payload_url = rest
        told = load(*map(int, counts), payload_url)
    else:
        told = check()
    print(json.dumps(told))


if __name__ == "__main__":
    main()

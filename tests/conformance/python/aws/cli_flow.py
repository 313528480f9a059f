"""The documentation's commands through `aws`, its broken JSON mended.

usage: cli_flow.py URL MODEL PAYLOAD
"""

import json
import subprocess
import sys

import flow

url, model, payload = sys.argv[1:]


def aws(service: str, *arguments: str, fails: str | None = None) -> dict:
    command = [sys.executable, "-m", "awscli", service, *arguments]
    ended = subprocess.run(command, env=flow.environment(url), capture_output=True, text=True, timeout=120)
    if fails is not None:
        assert ended.returncode not in (0, None) and fails in ended.stderr, (command, ended)
        return {}
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return json.loads(ended.stdout) if ended.stdout.strip() else {}


def describe(job_name: str) -> dict:
    return aws("sagemaker", "describe-inference-recommendations-job", "--job-name", job_name)


aws(
    "sagemaker", "create-model",
    "--model-name", "cli-model",
    "--execution-role-arn", flow.ROLE,
    "--primary-container", json.dumps({"Image": flow.IMAGE, "ModelDataUrl": model}),
)
container_config = flow.container_config(payload)
created = aws(
    "sagemaker", "create-inference-recommendations-job",
    "--region", "us-east-1",
    "--job-name", "from-cli",
    "--job-type", "Default",
    "--role-arn", flow.ROLE,
    "--input-config", json.dumps({"ModelName": "cli-model", "ContainerConfig": container_config}),
)
assert created["JobArn"].endswith("/from-cli"), created
flow.until(lambda: describe("from-cli"), {"IN_PROGRESS"})
listed = aws("sagemaker", "list-inference-recommendations-jobs", "--name-contains", "from-cli")
assert [job["JobName"] for job in listed["InferenceRecommendationsJobs"]] == ["from-cli"], listed
steps = aws("sagemaker", "list-inference-recommendations-job-steps", "--job-name", "from-cli")
assert steps["Steps"], steps
aws("sagemaker", "stop-inference-recommendations-job", "--job-name", "from-cli")
stopped = flow.until(lambda: describe("from-cli"), {"STOPPED"})
assert stopped["InputConfig"]["ContainerConfig"] == container_config, stopped
lines = aws(
    "logs", "get-log-events",
    "--log-group-name", "/aws/sagemaker/InferenceRecommendationsJobs",
    "--log-stream-name", "from-cli/execution",
)
assert "stopped" in lines["events"][-1]["message"], lines
aws("sagemaker", "describe-inference-recommendations-job", "--job-name", "nobody", fails="ResourceNotFound")
print("ok")

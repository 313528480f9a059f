"""boto3 against a coordinator that wants signatures: the right key, and every wrong one."""

import sys

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

URL, KEY, SECRET = sys.argv[1:]


def client(service="sagemaker", key=KEY, secret=SECRET, region="us-east-1", token=None, **config):
    return boto3.client(
        service,
        endpoint_url=URL,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(proxies={}, **config),
    )


def refused(code, call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except ClientError as error:
        answer = error.response
        assert answer["Error"]["Code"] == code, answer
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403, answer
        assert answer["ResponseMetadata"]["RetryAttempts"] == 0, answer
        assert answer["ResponseMetadata"]["RequestId"], answer
        return
    raise AssertionError(f"{code} was expected, and the request was answered")


def tampered(request, **_):
    request.body = request.body.replace(b"Ascending", b"Descending")
    request.headers["Content-Length"] = str(len(request.body))


assert client().list_models(SortOrder="Ascending")["Models"] == []
group = "/aws/sagemaker/InferenceRecommendationsJobs"
try:
    client("logs").get_log_events(logGroupName=group, logStreamName="nothing/execution")
    raise AssertionError("there is no such stream")
except ClientError as error:
    assert error.response["Error"]["Code"] == "ResourceNotFoundException", error.response

refused("InvalidSignatureException", client(secret=SECRET + "x").list_models)
refused("InvalidSignatureException", client(region="eu-west-1").list_models)
refused("UnrecognizedClientException", client(key="AKIAEXAMPLE000000009").list_models)
refused("UnrecognizedClientException", client(token="temporary").list_models)
refused("MissingAuthenticationTokenException", client(signature_version=UNSIGNED).list_models)
changed = client()
changed.meta.events.register("before-send.sagemaker.ListModels", tampered)
refused("InvalidSignatureException", changed.list_models, SortOrder="Ascending")
print("boto3 was told every time")

"""Infers through a running model host with Triton's own clients and compares the answers.

usage: oip_client.py URL MODEL INPUT.npy EXPECTED.npy

HTTP (JSON and binary data) and gRPC (which share the port) must agree with each other and with the
expected output within 1e-5, and what the host says about itself must fit.
"""

import sys
from urllib.parse import urlsplit

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

SERVICE = "inference.GRPCInferenceService"
TOLERANCE = 1e-5


def close(name: str, answer: np.ndarray, expected: np.ndarray) -> None:
    assert answer.shape == expected.shape, (name, answer.shape, expected.shape)
    assert answer.dtype == expected.dtype, (name, answer.dtype, expected.dtype)
    deviation = float(np.max(np.abs(answer - expected) / np.maximum(1.0, np.abs(expected)), initial=0.0))
    assert deviation <= TOLERANCE, f"{name} deviates by {deviation}"
    print(f"{name}: {answer.dtype}{list(answer.shape)}, deviation {deviation:.1e}")


def http_answers(address: str, model: str, values: np.ndarray) -> dict[str, np.ndarray]:
    client = tritonclient.http.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert "statistics" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(model)
    declared, output = metadata["inputs"][0], metadata["outputs"][0]["name"]
    assert client.get_model_config(model)["input"][0]["name"] == declared["name"]
    answers = {}
    for binary in (True, False):
        tensor = tritonclient.http.InferInput(declared["name"], list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values, binary_data=binary)
        wanted = tritonclient.http.InferRequestedOutput(output, binary_data=binary)
        result = client.infer(model, [tensor], outputs=[wanted], request_id="http-7")
        assert result.get_response()["id"] == "http-7", result.get_response()
        answers["http binary" if binary else "http json"] = result.as_numpy(output)
    served = client.get_inference_statistics(model)["model_stats"][0]["inference_stats"]["success"]["count"]
    assert served >= len(answers), served
    try:
        client.infer("no-such-model", [tensor])
        raise AssertionError("a model that is not served was answered")
    except InferenceServerException as error:
        assert "no-such-model" in error.message(), error
    client.close()
    return answers


def grpc_answer(address: str, model: str, values: np.ndarray) -> np.ndarray:
    client = tritonclient.grpc.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    metadata = client.get_model_metadata(model)
    declared, output = metadata.inputs[0], metadata.outputs[0].name
    assert client.get_model_config(model).config.input[0].name == declared.name
    tensor = tritonclient.grpc.InferInput(declared.name, list(values.shape), np_to_triton_dtype(values.dtype))
    tensor.set_data_from_numpy(values)
    wanted = tritonclient.grpc.InferRequestedOutput(output)
    result = client.infer(model, [tensor], outputs=[wanted], request_id="grpc-7")
    assert result.get_response().id == "grpc-7", result.get_response().id
    assert client.get_inference_statistics(model).model_stats[0].inference_count >= 1
    wrong = tritonclient.grpc.InferInput(declared.name, [1, 1], "INT64")
    wrong.set_data_from_numpy(np.zeros((1, 1), np.int64))
    try:
        client.infer(model, [wrong])
        raise AssertionError("an input of the wrong type was answered")
    except InferenceServerException as error:
        assert error.status() == "StatusCode.INVALID_ARGUMENT", error
    client.close()
    return result.as_numpy(output)


def check_services(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        for service in ("", SERVICE):
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=10
            )
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, (service, answer)
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert SERVICE in services, services


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    url, model, input_file, expected_file = sys.argv[1:]
    address = urlsplit(url).netloc
    values, expected = np.load(input_file), np.load(expected_file)
    answers = http_answers(address, model, values)
    answers["grpc"] = grpc_answer(address, model, values)
    for name, answer in answers.items():
        close(name, answer, expected)
    close("http and grpc", answers["http binary"], answers["grpc"])
    check_services(address)


if __name__ == "__main__":
    main()

//! The Open Inference Protocol over gRPC, on the port that serves HTTP.

use std::collections::HashMap;

use assay_host::{engine::InferError, server::ENVELOPE_BYTES};
use assay_proto::inference::{
    DataType, InferParameter, InferTensorContents, ModelConfigRequest, ModelInferRequest,
    ModelMetadataRequest, ModelReadyRequest, ModelStatisticsRequest, ServerMetadataRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use bytes::Bytes;
use tokio_stream::StreamExt as _;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{Behaviour, Host, StandIn, f32_bytes, floats};

type Client = GrpcInferenceServiceClient<Channel>;

fn with_client<F: Future<Output = ()>>(host: &Host, test: impl FnOnce(Client, Channel) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Channel::from_shared(host.url.clone()).unwrap().connect().await.unwrap();
        test(GrpcInferenceServiceClient::new(channel.clone()), channel).await;
    });
}

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn multi_request() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "multi".to_owned(),
        id: "id-7".to_owned(),
        inputs: vec![input("right", "FP32", &[1, 4]), input("left", "FP32", &[1, 4])],
        raw_input_contents: vec![
            f32_bytes(&[1.0; 4]).into(),
            f32_bytes(&[1.0, 2.0, 3.0, 4.0]).into(),
        ],
        parameters: HashMap::from([(
            "triton_enable_empty_final_response".to_owned(),
            InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) },
        )]),
        ..ModelInferRequest::default()
    }
}

#[test]
fn raw_tensors_go_in_and_out_and_the_id_comes_back() {
    let host = Host::of_reference("multi");
    with_client(&host, |mut client, _| async move {
        let mut request = multi_request();
        let response = client.model_infer(request.clone()).await.unwrap().into_inner();
        assert_eq!(
            (response.id.as_str(), response.model_name.as_str(), response.model_version.as_str()),
            ("id-7", "multi", "1")
        );
        assert_eq!(
            response.outputs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
            ["difference", "sum"]
        );
        assert_eq!(
            (response.outputs[1].datatype.as_str(), response.outputs[1].shape.as_slice()),
            ("FP32", &[1, 4][..])
        );
        assert_eq!(floats(&response.raw_output_contents[1]), [2.0, 3.0, 4.0, 5.0]);
        assert!(response.outputs[1].contents.is_none());
        request.outputs = vec![InferRequestedOutputTensor {
            name: "sum".to_owned(),
            ..InferRequestedOutputTensor::default()
        }];
        let response = client.model_infer(request).await.unwrap().into_inner();
        assert_eq!((response.outputs.len(), response.raw_output_contents.len()), (1, 1));
    });
}

#[test]
fn typed_contents_are_answered_with_typed_contents() {
    let contents = |fill: &dyn Fn(&mut InferTensorContents)| {
        let mut contents = InferTensorContents::default();
        fill(&mut contents);
        contents
    };
    for (declared, datatype, contents) in [
        ("float32[2]", "FP32", contents(&|c| c.fp32_contents = vec![1.5, -2.0])),
        ("float64[2]", "FP64", contents(&|c| c.fp64_contents = vec![1.5, -2.0])),
        ("int64[2]", "INT64", contents(&|c| c.int64_contents = vec![i64::MAX, -1])),
        ("int32[2]", "INT32", contents(&|c| c.int_contents = vec![i32::MAX, -1])),
        ("int16[2]", "INT16", contents(&|c| c.int_contents = vec![300, -1])),
        ("int8[2]", "INT8", contents(&|c| c.int_contents = vec![127, -128])),
        ("uint8[2]", "UINT8", contents(&|c| c.uint_contents = vec![0, 255])),
        ("bool[2]", "BOOL", contents(&|c| c.bool_contents = vec![true, false])),
    ] {
        let host = Host::of(StandIn::new(&[declared], Behaviour::Echo));
        with_client(&host, |mut client, _| async move {
            let mut tensor = input("x0", datatype, &[2]);
            tensor.contents = Some(contents.clone());
            let request = ModelInferRequest {
                model_name: "stand-in".to_owned(),
                inputs: vec![tensor],
                ..ModelInferRequest::default()
            };
            let response = client.model_infer(request).await.unwrap().into_inner();
            assert_eq!(response.outputs[0].contents, Some(contents), "{datatype}");
            assert!(response.raw_output_contents.is_empty());
        });
    }
}

#[test]
fn refusals_carry_their_grpc_codes() {
    let host = Host::of_reference("multi");
    with_client(&host, |mut client, _| async move {
        let mut refused = async |change: &dyn Fn(&mut ModelInferRequest)| {
            let mut request = multi_request();
            change(&mut request);
            let status = client.model_infer(request).await.unwrap_err();
            (status.code(), status.message().to_owned())
        };
        let (code, message) = refused(&|r| r.model_name = "other".to_owned()).await;
        assert_eq!(code, Code::NotFound, "{message}");
        assert_eq!(refused(&|r| r.model_version = "2".to_owned()).await.0, Code::NotFound);
        for (change, words) in [
            (
                &(|r: &mut ModelInferRequest| r.inputs[0].datatype = "INT64".to_owned())
                    as &dyn Fn(&mut ModelInferRequest),
                "takes 32",
            ),
            (&|r| r.inputs[0].shape = vec![1, 5], "takes 20"),
            (&|r| drop(r.raw_input_contents.pop()), "1 raw_input_contents for 2 inputs"),
            (&|r| r.inputs[1].name = "middle".to_owned(), "middle"),
            (
                &|r| {
                    r.inputs[0].contents = Some(InferTensorContents {
                        fp32_contents: vec![1.0],
                        ..InferTensorContents::default()
                    })
                },
                "both contents",
            ),
        ] {
            let (code, message) = refused(change).await;
            assert!(code == Code::InvalidArgument && message.contains(words), "{code}: {message}");
        }
    });
    for (error, code) in [
        (InferError::Overloaded { limit: 3 }, Code::Unavailable),
        (InferError::Stopping, Code::Unavailable),
        (InferError::ModelRaised { message: "no".to_owned() }, Code::Internal),
    ] {
        let host = Host::of(StandIn::new(&["left=float32[1,4]"], Behaviour::Fail(error)));
        with_client(&host, |mut client, _| async move {
            let request =
                ModelInferRequest { model_name: "stand-in".to_owned(), ..multi_request() };
            assert_eq!(client.model_infer(request).await.unwrap_err().code(), code);
        });
    }
}

#[test]
fn a_message_over_the_limit_is_refused() {
    let host = Host::with_limit(StandIn::new(&["uint8[1]"], Behaviour::Echo), 1000);
    with_client(&host, |mut client, _| async move {
        let request = |bytes: usize| ModelInferRequest {
            model_name: "stand-in".to_owned(),
            inputs: vec![input("x0", "UINT8", &[i64::try_from(bytes).unwrap()])],
            raw_input_contents: vec![Bytes::from(vec![0; bytes])],
            ..ModelInferRequest::default()
        };
        // What the message says of its tensors does not count against the payload.
        assert!(client.model_infer(request(1000)).await.is_ok());
        let over = client.model_infer(request(1000 + ENVELOPE_BYTES)).await.unwrap_err();
        assert_eq!(over.code(), Code::OutOfRange);
    });
}

#[test]
fn metadata_configuration_and_statistics_are_served() {
    let host = Host::of_reference("multi");
    with_client(&host, |mut client, _| async move {
        client.model_infer(multi_request()).await.unwrap();
        let name = "multi".to_owned();
        let version = String::new();
        let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
        assert!(
            server.extensions.contains(&"statistics".to_owned())
                && server.extensions.contains(&"model_configuration".to_owned())
        );
        let ready = client
            .model_ready(ModelReadyRequest { name: name.clone(), version: version.clone() })
            .await
            .unwrap();
        assert!(ready.into_inner().ready);
        let metadata = client
            .model_metadata(ModelMetadataRequest { name: name.clone(), version: version.clone() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (metadata.inputs[0].name.as_str(), metadata.inputs[0].shape.as_slice()),
            ("left", &[-1, 4][..])
        );
        let config = client
            .model_config(ModelConfigRequest { name: name.clone(), version: version.clone() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(config.config.unwrap().output[0].data_type, i32::from(DataType::TypeFp32));
        for name in [name, String::new()] {
            let statistics = client
                .model_statistics(ModelStatisticsRequest { name, version: String::new() })
                .await
                .unwrap()
                .into_inner();
            assert_eq!(statistics.model_stats[0].inference_count, 1);
        }
    });
}

#[test]
fn health_is_served() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    with_client(&host, |_, channel| async move {
        let mut health = HealthClient::new(channel);
        for service in ["", "inference.GRPCInferenceService"] {
            let answer = health
                .check(HealthCheckRequest { service: service.to_owned() })
                .await
                .unwrap()
                .into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        }
        assert!(health.check(HealthCheckRequest { service: "other".to_owned() }).await.is_err());
    });
}

#[test]
fn reflection_lists_what_is_served_and_nothing_else() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    with_client(&host, |_, channel| async move {
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut answers = ServerReflectionClient::new(channel)
            .server_reflection_info(tokio_stream::once(ask))
            .await
            .unwrap()
            .into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) =
            answers.next().await.unwrap().unwrap().message_response
        else {
            panic!("no list of services");
        };
        let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(names, ["grpc.health.v1.Health", "inference.GRPCInferenceService"]);
    });
}

#[test]
fn a_method_that_is_not_served_is_unimplemented() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    let answer = host.post("/inference.Other/Method", "application/grpc", b"");
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("12")));
}

//! The Open Inference Protocol over HTTP.

use serde_json::{Value, json};

use crate::support::{Answer, Behaviour, Host, StandIn, f32_bytes, floats};

fn multi_request() -> Value {
    json!({
        "id": "a \"quoted\" id",
        "parameters": {"triton_enable_empty_final_response": false, "unheard_of": 1},
        "inputs": [
            {"name": "right", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]},
            {"name": "left", "shape": [1, 4], "datatype": "FP32", "data": [[1, 2, 3, 4]]},
        ],
    })
}

fn infer(host: &Host, model: &str, request: &Value) -> Answer {
    host.post(
        &format!("/v2/models/{model}/infer"),
        "application/json",
        request.to_string().as_bytes(),
    )
}

#[test]
fn health_and_metadata_are_served() {
    let host = Host::of_reference("multi");
    for path in [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/multi/ready",
        "/v2/models/multi/versions/1/ready",
        "/ping",
    ] {
        assert_eq!(host.get(path).status, 200, "{path}");
    }
    assert!(
        host.get("/v2").json()["extensions"].as_array().unwrap().contains(&"statistics".into())
    );
    for path in ["/v2/models/multi", "/v2/models/multi/versions/1"] {
        let metadata = host.get(path).json();
        assert_eq!(
            metadata["inputs"][0],
            json!({"name": "left", "datatype": "FP32", "shape": [-1, 4]}),
            "{metadata}"
        );
        assert_eq!(
            metadata["outputs"][1],
            json!({"name": "sum", "datatype": "FP32", "shape": [1, 4]}),
            "{metadata}"
        );
    }
    let config = host.get("/v2/models/multi/config").json();
    assert_eq!(config["input"][1], json!({"name": "right", "data_type": "TYPE_FP32", "dims": [4]}));
    assert_eq!(config["max_batch_size"], 1);
    assert_eq!(config["dynamic_batching"], Value::Null);
}

#[test]
fn the_configuration_tells_what_batches_were_allowed_and_what_batches_are_made() {
    let host = Host::of(StandIn::batching(8, 2));
    let config = host.get("/v2/models/stand-in/config").json();
    let expected = json!({"preferred_batch_size": [2], "max_queue_delay_microseconds": 0});
    assert_eq!(config["dynamic_batching"], expected, "{config}");
}

#[test]
fn json_tensors_go_in_and_out_and_the_id_comes_back() {
    let host = Host::of_reference("multi");
    let answer = infer(&host, "multi", &multi_request());
    let body = answer.json();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json")),
        "{body}"
    );
    assert_eq!(
        (&body["id"], &body["model_name"], &body["model_version"]),
        (&"a \"quoted\" id".into(), &"multi".into(), &"1".into())
    );
    let expected = json!([
        {"name": "difference", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 1.0, 2.0, 3.0]},
        {"name": "sum", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 3.0, 4.0, 5.0]},
    ]);
    assert_eq!(body["outputs"], expected);
}

#[test]
fn only_requested_outputs_are_sent_in_the_order_asked() {
    let host = Host::of_reference("multi");
    let mut request = multi_request();
    request["outputs"] = json!([{"name": "sum"}]);
    let body = infer(&host, "multi", &request).json();
    assert_eq!(body["outputs"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["outputs"][0]["name"], "sum");
    request["outputs"] = json!([{"name": "product"}]);
    let refused = infer(&host, "multi", &request);
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("no output \\\"product\\\"; it has difference, sum"),
        "{}",
        refused.text()
    );
}

#[test]
fn binary_data_goes_in_and_out_behind_the_json() {
    let host = Host::of_reference("multi");
    let header = json!({
        "inputs": [
            {"name": "left", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
            {"name": "right", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
        ],
        "outputs": [{"name": "sum", "parameters": {"binary_data": true}}, {"name": "difference"}],
    })
    .to_string();
    let mut body = header.clone().into_bytes();
    body.extend(f32_bytes(&[1.0, 2.0, 3.0, 4.0, 10.0, 10.0, 10.0, 10.0]));
    let length = header.len().to_string();
    let send = |length: &str, body: &[u8]| {
        host.send(
            "POST",
            "/v2/models/multi/versions/1/infer",
            &[("Inference-Header-Content-Length", length)],
            body,
        )
    };
    let answer = send(&length, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json_length: usize =
        answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let json: Value = serde_json::from_slice(&answer.body[..json_length]).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 16);
    assert_eq!(json["outputs"][1]["data"], json!([-9.0, -8.0, -7.0, -6.0]));
    assert_eq!(floats(&answer.body[json_length..]), [11.0, 12.0, 13.0, 14.0]);
    for (length, body, words) in [
        (length.as_str(), &body[..body.len() - 1], "binary_data_size does not fit the 15 bytes"),
        (
            length.as_str(),
            &[body.as_slice(), b"x"].concat()[..],
            "1 bytes of binary data belong to no input",
        ),
        ("99999", body.as_slice(), "Inference-Header-Content-Length is 99999"),
        ("many", body.as_slice(), "no length"),
    ] {
        let answer = send(length, body);
        assert!(answer.status == 400 && answer.text().contains(words), "{}", answer.text());
    }
}

#[test]
fn every_datatype_survives_json() {
    for (declared, datatype, data) in [
        ("float32[2]", "FP32", json!([1.5, -2.0])),
        ("float64[2]", "FP64", json!([1.1, -2.0])),
        ("float16[2]", "FP16", json!([1.5, -2.0])),
        ("bfloat16[2]", "BF16", json!([1.5, -2.0])),
        ("int64[2]", "INT64", json!([i64::MAX, i64::MIN])),
        ("int32[2]", "INT32", json!([7, -7])),
        ("int16[2]", "INT16", json!([7, -7])),
        ("int8[2]", "INT8", json!([127, -128])),
        ("uint8[2]", "UINT8", json!([0, 255])),
        ("bool[2]", "BOOL", json!([true, false])),
    ] {
        let host = Host::of(StandIn::new(&[declared], Behaviour::Echo));
        let request =
            json!({"inputs": [{"name": "x0", "shape": [2], "datatype": datatype, "data": data}]});
        let answer = infer(&host, "stand-in", &request);
        assert_eq!(answer.json()["outputs"][0]["data"], data, "{}", answer.text());
    }
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    let host = Host::of_reference("multi");
    let with = |input: Value| json!({"inputs": [input]});
    let input = |key: &str, value: Value| {
        let mut input =
            json!({"name": "left", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]});
        input[key] = value;
        with(input)
    };
    for (request, words) in [
        (input("datatype", "BYTES".into()), "known are FP32"),
        (input("shape", json!([1, 3])), "has 16 bytes, but FP32[1, 3] takes 12"),
        (input("shape", json!([-1, 4])), "which no tensor can have"),
        (input("data", json!(["a"])), "the text"),
        (input("data", json!([1, null])), "null stands at data[1]"),
        (input("data", Value::Null), "neither data nor binary_data_size"),
        (input("parameters", json!({"shared_memory_region": "r"})), "shared_memory_region"),
        (input("shape", json!([1, 4])), "right"),
        (json!({"inputs": 5}), "invalid type"),
        (json!({}), "missing field `inputs`"),
    ] {
        let answer = infer(&host, "multi", &request);
        assert!(
            answer.status == 400 && answer.text().contains(words),
            "{request}: {} {}",
            answer.status,
            answer.text()
        );
    }
}

#[test]
fn an_unknown_model_or_version_is_not_found() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    for path in [
        "/v2/models/other",
        "/v2/models/other/ready",
        "/v2/models/other/stats",
        "/v2/models/stand-in/versions/2",
        "/v2/models/stand-in/versions/2/config",
    ] {
        assert_eq!(host.get(path).status, 404, "{path}");
    }
    let answer = infer(&host, "other", &json!({}));
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("the model is \\\"stand-in\\\""), "{}", answer.text());
}

#[test]
fn statistics_count_requests_batches_and_errors() {
    let host = Host::of_reference("multi");
    for _ in 0..3 {
        assert_eq!(infer(&host, "multi", &multi_request()).status, 200);
    }
    assert_eq!(infer(&host, "multi", &json!({})).status, 400);
    let all = host.get("/v2/models/multi/stats").json();
    let model = &all["model_stats"][0];
    assert_eq!(
        (&model["inference_count"], &model["execution_count"]),
        (&3.into(), &3.into()),
        "{all}"
    );
    assert_eq!(model["inference_stats"]["success"]["count"], 3);
    assert!(
        model["inference_stats"]["compute_infer"]["ns"].as_u64().unwrap() > 0
            && model["last_inference"].as_u64().unwrap() > 0
    );
    assert_eq!(model["batch_stats"][0]["batch_size"], 1);
    let ours = &all["assay"];
    assert_eq!(
        (&ours["requests"], &ours["errors"], &ours["batches"], &ours["allocator"]),
        (&4.into(), &1.into(), &3.into(), &"default".into())
    );
    assert_eq!(ours["batch_sizes"][0]["batches"], 3);
}

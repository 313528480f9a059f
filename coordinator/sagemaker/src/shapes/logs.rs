//! CloudWatch Logs, as far as the SageMaker SDK reads them.

use crate::shapes::define::{shapes, words};

words! {
    /// What log streams are sorted by.
    StreamOrder {
        LogStreamName = "LogStreamName",
        LastEventTime = "LastEventTime",
    }
}

shapes! {
    "camelCase";

    GetLogEventsRequest {
        log_stream_name: String,
        ..
        log_group_name: String,
        log_group_identifier: String,
        start_time: i64,
        end_time: i64,
        next_token: String,
        limit: i32,
        start_from_head: bool,
        unmask: bool,
    }

    #[derive(Default)]
    GetLogEventsResponse {
        ..
        events: Vec<OutputLogEvent>,
        next_forward_token: String,
        next_backward_token: String,
    }

    #[derive(Default)]
    OutputLogEvent {
        ..
        timestamp: i64,
        message: String,
        ingestion_time: i64,
    }

    #[derive(Default)]
    DescribeLogStreamsRequest {
        ..
        log_group_name: String,
        log_group_identifier: String,
        log_stream_name_prefix: String,
        order_by: StreamOrder,
        descending: bool,
        next_token: String,
        limit: i32,
    }

    #[derive(Default)]
    DescribeLogStreamsResponse {
        ..
        log_streams: Vec<LogStream>,
        next_token: String,
    }

    #[derive(Default)]
    LogStream {
        ..
        log_stream_name: String,
        creation_time: i64,
        first_event_timestamp: i64,
        last_event_timestamp: i64,
        last_ingestion_time: i64,
        upload_sequence_token: String,
        arn: String,
        stored_bytes: i64,
    }
}

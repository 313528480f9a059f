//! A server that answers at once: what load generators are measured against, so that they and not the
//! server are the limit.
//!
//! `echo_server http` speaks HTTP/1.1 with keep-alive, `echo_server grpc` as much of HTTP/2 and the Open
//! Inference Protocol v2 as load generators use. One thread, epoll, no work: whoever measures pins it.
//! Prints `listening URL` and ends with the process that started it. Nothing here is fit for a network.

use std::{env, io::Write, net::TcpListener, process::ExitCode};

use rustix::process::{Signal, set_parent_process_death_signal};

mod grpc;
mod header_blocks;
mod http;
mod serving;

fn main() -> ExitCode {
    let word = env::args().nth(1).unwrap_or_default();
    let served = match word.as_str() {
        "http" => announce("http").and_then(serving::serve::<http::Http>),
        "grpc" => announce("grpc").and_then(serving::serve::<grpc::Grpc>),
        _ => {
            eprintln!("usage: echo_server http|grpc");
            return ExitCode::from(2);
        }
    };
    match served {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("error: cannot serve\n  cause: {error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(scheme: &str) -> std::io::Result<TcpListener> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening {scheme}://{}", listener.local_addr()?)?;
    stdout.flush()?;
    Ok(listener)
}

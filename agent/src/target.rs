//! What a load generator sends to: `http://HOST:PORT[/PATH]`, `unix:PATH` or `grpc://HOST:PORT/MODEL`.
//!
//! Parsing and resolving only; connections and protocols live in [`crate::load`].

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use thiserror::Error;

/// How long [`Target::reach`] waits for a connection.
const REACH_WITHIN: Duration = Duration::from_secs(3);

/// A server to load, as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// HTTP/1.1 over TCP.
    Http {
        /// Host name or address, as in the `Host` header.
        host: String,
        port: u16,
        /// Path and query, if one was given.
        path: Option<String>,
    },
    /// HTTP/1.1 over a Unix socket.
    Unix {
        /// The socket's path in the file system.
        socket: PathBuf,
    },
    /// Open Inference Protocol v2 over gRPC without TLS.
    Grpc { host: String, port: u16, model: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A target cannot be used.
#[derive(Debug, Error)]
pub enum TargetError {
    #[error(
        "{0:?} is not a target; write it like http://127.0.0.1:8080/invocations, unix:/run/model.sock or grpc://127.0.0.1:8081/MODEL"
    )]
    Grammar(String),
    #[error("{0:?} asks for TLS, which the load generator does not speak; measure the plain port")]
    Tls(String),
    #[error("{0:?} names no model; write it like grpc://127.0.0.1:8081/resnet18")]
    NoModel(String),
    #[error("cannot resolve {host}")]
    Resolve { host: String, source: io::Error },
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("cannot connect to {address}")]
    Connect { address: Address, source: io::Error },
}

impl Address {
    /// Whoever loads it may then have to share its processors with it.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl Target {
    /// Finds an address that accepts connections.
    ///
    /// # Errors
    /// [`TargetError::Resolve`], [`TargetError::NoAddress`], or [`TargetError::Connect`] for the last address tried.
    pub fn reach(&self) -> Result<Address, TargetError> {
        let (host, port) = match self {
            Self::Unix { socket } => {
                let address = Address::Unix(socket.clone());
                return match UnixStream::connect(socket) {
                    Ok(_) => Ok(address),
                    Err(source) => Err(TargetError::Connect { address, source }),
                };
            }
            Self::Http { host, port, .. } | Self::Grpc { host, port, .. } => (host, *port),
        };
        let name = authority(host, port);
        let addresses = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|source| TargetError::Resolve { host: name.clone(), source })?;
        let mut last = TargetError::NoAddress(name);
        for socket_address in addresses {
            let address = Address::Tcp(socket_address);
            match TcpStream::connect_timeout(&socket_address, REACH_WITHIN) {
                Ok(_) => return Ok(address),
                Err(source) => last = TargetError::Connect { address, source },
            }
        }
        Err(last)
    }

    /// The value of the `Host` header or `:authority`.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Http { host, port, .. } | Self::Grpc { host, port, .. } => authority(host, *port),
            Self::Unix { .. } => "localhost".to_owned(),
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let bad = || TargetError::Grammar(text.to_owned());
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(bad());
        }
        if let Some(socket) = text.strip_prefix("unix:") {
            let socket = socket.strip_prefix("//").unwrap_or(socket);
            if socket.is_empty() {
                return Err(bad());
            }
            return Ok(Self::Unix { socket: PathBuf::from(socket) });
        }
        if text.starts_with("https://") || text.starts_with("grpcs://") {
            return Err(TargetError::Tls(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let (host, port, path) = split(rest, Some(80)).ok_or_else(bad)?;
            return Ok(Self::Http { host, port, path });
        }
        let rest = text.strip_prefix("grpc://").ok_or_else(bad)?;
        let (host, port, path) = split(rest, None).ok_or_else(bad)?;
        let model = path.as_deref().map_or("", |path| path.trim_matches('/'));
        if model.is_empty() {
            return Err(TargetError::NoModel(text.to_owned()));
        }
        Ok(Self::Grpc { host, port, model: model.to_owned() })
    }
}

/// Splits `HOST[:PORT][/PATH]`; a host with colons stands in brackets.
fn split(text: &str, default_port: Option<u16>) -> Option<(String, u16, Option<String>)> {
    let (authority, path) = match text.find(['/', '?']) {
        Some(at) if text[at..].starts_with('?') => (&text[..at], Some(format!("/{}", &text[at..]))),
        Some(at) => (&text[..at], Some(text[at..].to_owned())),
        None => (text, None),
    };
    let path = path.map(|path| path.split('#').next().unwrap_or("/").to_owned());
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, after.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|&port| port != 0)?,
        None => default_port?,
    };
    (!host.is_empty() && !host.contains('@')).then(|| (host.to_owned(), port, path))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { path, .. } => {
                write!(f, "http://{}{}", self.authority(), path.as_deref().unwrap_or(""))
            }
            Self::Unix { socket } => write!(f, "unix:{}", socket.display()),
            Self::Grpc { model, .. } => write!(f, "grpc://{}/{model}", self.authority()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_survive_their_own_text() {
        for text in [
            "http://127.0.0.1:8080/invocations",
            "http://localhost:80",
            "http://[::1]:8080/a?b=c",
            "unix:/run/model.sock",
            "grpc://127.0.0.1:8081/resnet18",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("http://a?x=1".parse::<Target>().unwrap().to_string(), "http://a:80/?x=1");
    }

    #[test]
    fn what_is_not_a_target_says_why() {
        for bad in [
            "",
            "127.0.0.1:80",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "unix:",
            "http://u@a/",
            "grpc://a/model",
            "http://a/b c",
            "http://a/\r\nX: y",
        ] {
            assert!(matches!(bad.parse::<Target>(), Err(TargetError::Grammar(_))), "{bad:?}");
        }
        assert!(matches!("https://a".parse::<Target>(), Err(TargetError::Tls(_))));
        assert!(matches!("grpc://a:1".parse::<Target>(), Err(TargetError::NoModel(_))));
        assert!(matches!("grpc://a:1/".parse::<Target>(), Err(TargetError::NoModel(_))));
    }

    #[test]
    fn an_address_where_nobody_listens_is_named() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error =
            format!("http://127.0.0.1:{port}").parse::<Target>().unwrap().reach().unwrap_err();
        assert_eq!(error.to_string(), format!("cannot connect to 127.0.0.1:{port}"));
        let error = "unix:/nonexistent/socket".parse::<Target>().unwrap().reach().unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to /nonexistent/socket");
    }
}

//! Where the host listens: TCP or a Unix socket, bound before the model is loaded so that a port in
//! use is found out at once.

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::net::sockopt::socket_acceptconn;
use thiserror::Error;

use super::url_of;
use crate::process;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port; port 0 lets the operating system choose.
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// A TCP socket that listens already, by the number of the descriptor under which it was inherited.
    Inherited(i32),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(descriptor) => write!(f, "fd:{descriptor}"),
        }
    }
}

/// A text is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no address to listen on; write it like 127.0.0.1:8080, [::1]:8080, unix:/run/host.sock or fd:3"
)]
pub struct ListenAddressError(String);

impl FromStr for ListenAddress {
    type Err = ListenAddressError;
    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let bad = || ListenAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(bad()) } else { Ok(Self::Unix(path.into())) };
        }
        if let Some(number) = text.strip_prefix("fd:") {
            return number.parse().ok().filter(|fd| *fd > 2).map(Self::Inherited).ok_or_else(bad);
        }
        match text.strip_prefix("localhost:") {
            Some(port) => port
                .parse()
                .map(|port: u16| Self::Tcp(([127, 0, 0, 1], port).into()))
                .map_err(|_| bad()),
            None => text.parse().map(Self::Tcp).map_err(|_| bad()),
        }
    }
}

/// An address cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    #[error("{0} is in use")]
    InUse(ListenAddress),
    #[error("cannot listen on {address}")]
    Refused { address: ListenAddress, source: io::Error },
}

#[derive(Debug)]
pub enum Bound {
    Tcp {
        listener: TcpListener,
        /// The address, its port chosen.
        address: SocketAddr,
    },
    Unix {
        listener: UnixListener,
        file: SocketFile,
    },
}

impl Bound {
    /// Starts to listen. Callers that connect now wait until they are served.
    ///
    /// # Errors
    /// [`BindError::InUse`] when somebody else does.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let bound = match address {
            ListenAddress::Tcp(socket) => TcpListener::bind(socket).and_then(bound_tcp),
            ListenAddress::Unix(path) => bind_unix(path),
            ListenAddress::Inherited(descriptor) => inherit_tcp(*descriptor),
        };
        bound.map_err(|source| {
            if source.kind() == io::ErrorKind::AddrInUse {
                BindError::InUse(address.clone())
            } else {
                BindError::Refused { address: address.clone(), source }
            }
        })
    }

    /// `http://127.0.0.1:8080` or `unix:/run/host.sock`.
    pub fn url(&self) -> String {
        match self {
            Self::Tcp { address, .. } => url_of(*address),
            Self::Unix { file, .. } => format!("unix:{}", file.path.display()),
        }
    }
}

fn bound_tcp(listener: TcpListener) -> io::Result<Bound> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok(Bound::Tcp { listener, address })
}

fn inherit_tcp(descriptor: i32) -> io::Result<Bound> {
    let listener = TcpListener::from(process::inherited(descriptor)?);
    let refused = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    match socket_acceptconn(&listener) {
        Ok(true) => {}
        Ok(false) => return refused("it is a socket that does not listen"),
        Err(_) => return refused("it is no socket"),
    }
    bound_tcp(listener)
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let listener = match UnixListener::bind(path) {
        // A file that nobody listens behind was left by a host that was killed.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    Ok(Bound::Unix { listener, file: SocketFile { path: path.to_owned() } })
}

/// Connecting to any other kind of file is refused as well, and such a file must not be removed.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A socket's file, removed when nobody listens behind it any more.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{IntoRawFd, OwnedFd};

    use super::*;

    #[test]
    fn addresses_survive_their_own_text() {
        for text in ["127.0.0.1:0", "[::1]:8080", "unix:/tmp/a.sock", "fd:3"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert_eq!("localhost:80".parse::<ListenAddress>().unwrap().to_string(), "127.0.0.1:80");
        for bad in [
            "",
            "unix:",
            "8080",
            "127.0.0.1",
            "localhost:x",
            "http://127.0.0.1:1",
            "fd:",
            "fd:2",
            "fd:-1",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = Bound::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let Bound::Tcp { address, .. } = &first else { panic!("no TCP socket") };
        let error = Bound::bind(&ListenAddress::Tcp(*address)).unwrap_err();
        assert_eq!(error.to_string(), format!("{address} is in use"));
    }

    #[test]
    fn an_inherited_socket_must_listen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inherited =
            |descriptor: OwnedFd| Bound::bind(&ListenAddress::Inherited(descriptor.into_raw_fd()));
        let Bound::Tcp { address: found, .. } = inherited(listener.into()).unwrap() else {
            panic!("no TCP socket")
        };
        assert_eq!(found, address);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = tempfile::tempfile().unwrap();
        for other in [OwnedFd::from(socket), OwnedFd::from(file)] {
            assert!(matches!(inherited(other), Err(BindError::Refused { .. })));
        }
        assert!(Bound::bind(&ListenAddress::Inherited(1_000_000)).is_err());
    }

    #[test]
    fn an_abandoned_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.sock");
        drop(UnixListener::bind(&path).unwrap());
        let address = ListenAddress::Unix(path.clone());
        let first = Bound::bind(&address).unwrap();
        assert!(matches!(Bound::bind(&address), Err(BindError::InUse(_))));
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "a file of somebody's").unwrap();
        assert!(Bound::bind(&address).is_err() && path.exists());
    }
}

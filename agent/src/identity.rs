//! Who this machine is: its instance type, and a fingerprint that two agents on it share.
//!
//! Nothing leaves the machine but a hash. The metadata service is asked only where the firmware says
//! that this is Amazon EC2: elsewhere its address may lead anywhere.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use assay_measure::ids::{HostFingerprint, InstanceTypeName};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use sha2::{Digest, Sha256};

use crate::model_host::client::fetch_text;

const METADATA_SERVICE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);
const METADATA_WITHIN: Duration = Duration::from_millis(300);

/// Where the instance type was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    /// EC2 instance metadata.
    Imds,
    Dmi,
    /// Nobody knows: the type is called `local`.
    Local,
}

impl Source {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Imds => "imds",
            Self::Dmi => "dmi",
            Self::Local => "local",
        }
    }
}

/// An instance type and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// Its name; a machine of EC2 gets the name of the SageMaker type, `ml.` and the machine's type.
    pub name: InstanceTypeName,
    pub source: Source,
}

/// The instance type of this machine: as given, else as the machine tells.
pub async fn instance_type(given: Option<InstanceTypeName>) -> InstanceType {
    match given {
        Some(name) => InstanceType { name, source: Source::Flag },
        None => detect(Path::new("/sys/devices/virtual/dmi/id"), METADATA_SERVICE).await,
    }
}

async fn detect(firmware: &Path, metadata: SocketAddr) -> InstanceType {
    let read =
        |file: &str| fs::read_to_string(firmware.join(file)).unwrap_or_default().trim().to_owned();
    if read("sys_vendor") == "Amazon EC2" {
        let from_service = from_metadata_service(metadata).await;
        if let Some(name) = from_service.as_deref().and_then(hosting_type) {
            return InstanceType { name, source: Source::Imds };
        }
        // Nitro machines carry their type in the firmware.
        if let Some(name) = hosting_type(&read("product_name")) {
            return InstanceType { name, source: Source::Dmi };
        }
    }
    InstanceType { name: local(), source: Source::Local }
}

/// `c5.large` → `ml.c5.large`; a text that is no instance type is none.
fn hosting_type(machine: &str) -> Option<InstanceTypeName> {
    let (family, size) = machine.trim().split_once('.')?;
    if family.is_empty() || size.is_empty() || machine.contains(' ') {
        return None;
    }
    InstanceTypeName::new(format!("ml.{}", machine.trim())).ok()
}

#[expect(clippy::expect_used, reason = "a constant that the rule allows; a test reads it")]
fn local() -> InstanceTypeName {
    InstanceTypeName::new("local").expect("`local` consists of lower-case letters")
}

/// IMDSv2: a token first, then the question.
async fn from_metadata_service(service: SocketAddr) -> Option<String> {
    let request = |method: &str, path: &str, header: (&str, &str)| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", service.to_string())
            .header(header.0, header.1)
            .body(Full::<Bytes>::default())
            .ok()
    };
    let ask = request("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", "60"))?;
    let token = fetch_text(service, ask, METADATA_WITHIN).await?;
    let ask = request(
        "GET",
        "/latest/meta-data/instance-type",
        ("x-aws-ec2-metadata-token", token.trim()),
    )?;
    fetch_text(service, ask, METADATA_WITHIN).await
}

/// Equal for all agents on this machine since it was started, different on any other. Containers
/// have machine ids of their own but share the kernel's boot id.
#[must_use]
pub fn host_fingerprint() -> HostFingerprint {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    fingerprint_of(&read("/etc/machine-id"), &read("/proc/sys/kernel/random/boot_id"), &node_name())
}

fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[expect(clippy::expect_used, reason = "a hash in hexadecimal digits is always a fingerprint")]
fn fingerprint_of(machine_id: &str, boot_id: &str, node_name: &str) -> HostFingerprint {
    // The boot id is the kernel's and the same in every container of the machine, so it alone
    // decides where it is there; the others serve kernels that hide it.
    let identity =
        if boot_id.is_empty() { format!("{machine_id}\n{node_name}") } else { boot_id.to_owned() };
    let checksum = Sha256::digest(format!("assay host\n{identity}"));
    HostFingerprint::new(hex::encode(checksum)).expect("64 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A metadata service that wants a token, as EC2's does.
    fn metadata_service(answer: &'static str) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    let count = stream.read(&mut buffer).unwrap();
                    request.extend_from_slice(&buffer[..count]);
                }
                let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
                let body = if request.starts_with("put /latest/api/token") {
                    "secret"
                } else if request.contains("x-aws-ec2-metadata-token: secret") {
                    answer
                } else {
                    ""
                };
                let status = if body.is_empty() { "401 Unauthorized" } else { "200 OK" };
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    .unwrap();
            }
        });
        address
    }

    fn firmware(vendor: &str, product: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sys_vendor"), format!("{vendor}\n")).unwrap();
        fs::write(folder.path().join("product_name"), format!("{product}\n")).unwrap();
        folder
    }

    fn nobody() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_ec2_machine_is_known_by_its_metadata_then_by_its_firmware() {
        let amazon = firmware("Amazon EC2", "m5.large");
        let found = detect(amazon.path(), metadata_service("c5.large")).await;
        assert_eq!((found.name.as_str(), found.source), ("ml.c5.large", Source::Imds));
        let found = detect(amazon.path(), nobody()).await;
        assert_eq!((found.name.as_str(), found.source), ("ml.m5.large", Source::Dmi));
    }

    #[tokio::test]
    async fn other_machines_are_local_and_nobody_is_asked() {
        let other = firmware("QEMU", "Standard PC (i440FX + PIIX, 1996)");
        let found = detect(other.path(), metadata_service("c5.large")).await;
        assert_eq!((found.name.as_str(), found.source), ("local", Source::Local));
        let xen = firmware("Amazon EC2", "HVM domU");
        assert_eq!(detect(xen.path(), nobody()).await.source, Source::Local);
    }

    #[tokio::test]
    async fn the_flag_wins() {
        let given = InstanceTypeName::new("onprem.h200").unwrap();
        let found = instance_type(Some(given.clone())).await;
        assert_eq!(found, InstanceType { name: given, source: Source::Flag });
    }

    #[test]
    fn the_fingerprint_is_of_the_machine_and_not_of_the_container() {
        assert_eq!(fingerprint_of("a", "boot", "x"), fingerprint_of("b", "boot", "y"));
        assert_ne!(fingerprint_of("a", "boot", "x"), fingerprint_of("a", "later", "x"));
        assert_ne!(fingerprint_of("a", "", "x"), fingerprint_of("a", "", "y"));
        assert_eq!(host_fingerprint(), host_fingerprint());
    }
}

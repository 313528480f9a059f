//! Files that jobs refer to.

use serde::{Deserialize, Serialize};

use crate::{ids::Sha256, units::Bytes};

/// A file held by the coordinator, named by its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// The file's name, for people and for its extension.
    pub name: String,
    /// Its checksum, which names it.
    pub sha256: Sha256,
    /// Its size.
    pub size_bytes: Bytes,
}

/// The checksum of no bytes at all.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl ArtifactRef {
    /// A file of which nothing has arrived yet: it is being fetched from somewhere.
    ///
    /// # Panics
    /// Never: the checksum is a constant.
    #[must_use]
    pub fn awaited(name: impl Into<String>) -> Self {
        let sha256 = Sha256::new(OF_NOTHING).expect("64 lower-case hexadecimal digits");
        Self { name: name.into(), sha256, size_bytes: Bytes::new(0) }
    }

    /// Nothing of it has arrived. An empty file that was uploaded is refused, so this has one meaning only.
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.size_bytes.count() == 0
    }
}

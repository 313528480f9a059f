//! What the operator said about this API, checked before anything is started.

use std::{fs, net::SocketAddr};

use assay_sagemaker::arn::Account;

use crate::{
    sagemaker::{keys::Keys, signature::Gate},
    settings::{AwsAuth, AwsSettings},
    start_error::StartError,
};

/// Settings that can be used.
#[derive(Debug)]
pub(crate) struct Offer {
    /// With directories as the file system knows them: without links and dots.
    pub(crate) settings: AwsSettings,
    pub(crate) account: Account,
    keys: Option<Keys>,
}

impl Offer {
    /// Reads and checks what is named.
    pub(crate) fn check(mut settings: AwsSettings) -> Result<Self, StartError> {
        let account = Account::new(&settings.region, &settings.account)?;
        let keys = match &settings.auth {
            AwsAuth::SigV4 { keys_file } => Some(Keys::read(keys_file)?),
            AwsAuth::Unsaid | AwsAuth::Off => None,
        };
        for path in &mut settings.file_url_dirs {
            let unusable = |source| StartError::FileUrlDir { path: path.clone(), source };
            let real = fs::canonicalize(&*path).map_err(unusable)?;
            fs::read_dir(&real).map_err(unusable)?;
            *path = real;
        }
        Ok(Self { settings, account, keys })
    }

    /// Unsigned requests are for this machine only.
    pub(crate) fn refuse_unprotected(&self, address: SocketAddr) -> Result<(), StartError> {
        if self.settings.auth == AwsAuth::Off && !address.ip().is_loopback() {
            return Err(StartError::AwsUnprotected(address));
        }
        Ok(())
    }

    /// Who is let in. `open_to_all` says whether the coordinator's other APIs are.
    pub(crate) fn gate(&mut self, open_to_all: bool) -> Gate {
        match (self.keys.take(), &self.settings.auth) {
            (Some(keys), _) => Gate::Signed { keys, region: self.settings.region.clone() },
            (None, AwsAuth::Off) => Gate::Open,
            // A token file says that not everybody on this machine is welcome.
            (None, AwsAuth::Unsaid | AwsAuth::SigV4 { .. }) if open_to_all => Gate::Open,
            (None, AwsAuth::Unsaid | AwsAuth::SigV4 { .. }) => Gate::Closed,
        }
    }
}

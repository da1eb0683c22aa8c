//! Permissions of project files: their requests, the options that grant them, and the user's `trust.toml`.

pub mod requests;
pub mod run_grants;
pub mod trust_file;

use crate::cli::error::CommandError;
use crate::cli::project::settings::Settings;
use crate::verb::Grants;

use trust_file::TrustFile;

/// Options that grant permissions.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PermissionFlags {
    /// Let the run use this secret: an environment variable, or a key that `atoll configure` has stored
    #[arg(long = "allow-secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// Let services connect to this host: `NAME:PORT`, `NAME`, or `*` for every host
    #[arg(long = "allow-egress", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Let the run write files that other programs obey automatically, e.g. `.github/**`
    #[arg(long = "allow-file", value_name = "GLOB")]
    pub files: Vec<String>,
}

/// The permissions from `settings`, the user's `trust.toml` and the options `allow`.
pub fn grants(settings: &Settings, allow: &PermissionFlags) -> Result<Grants, CommandError> {
    TrustFile::load(settings.user.as_deref())?.grants(allow)
}

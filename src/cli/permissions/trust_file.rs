//! The user's own `trust.toml`: general permissions, and trusted files with the digests of their content.
#![expect(clippy::disallowed_methods, reason = "the door to trust.toml")]

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::cli::error::CommandError;
use crate::cli::permissions::PermissionFlags;
use crate::cli::project::owners::{Owners, way_out};
use crate::rooted_fs::read_text;
use crate::value::Digest;
use crate::verb::{Grants, Permission, is_secret_name};

/// The user's own `trust.toml`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustFile {
    /// Secrets that every run may use.
    secrets: Vec<String>,
    /// Hosts that every service may connect to.
    egress: Vec<String>,
    /// Directories for which the owner is not checked.
    pub directories: Vec<PathBuf>,
    /// Files whose requests are allowed as long as they are unchanged.
    pub files: Vec<TrustedFile>,
}

/// A trusted file, and the files that decide with it where secrets go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Digest of its content.
    pub digest: Digest,
    /// Files of the project that it extends, calls or includes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<FileDigest>,
}

/// A file with its content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Path of the file.
    pub path: PathBuf,
    /// Digest of its content.
    pub digest: Digest,
}

impl TrustedFile {
    /// Whether `part` is this file with the same content.
    pub fn is(&self, part: &FileDigest) -> bool {
        self.path == part.path && self.digest == part.digest
    }
}

impl TrustFile {
    /// Reads the file in `dir`, the user's own directory.
    pub fn load(dir: Option<&Path>) -> Result<Self, CommandError> {
        let Some(path) = dir.map(place) else { return Ok(Self::default()) };
        let wrong = |what: String| CommandError::wrong(format!("{}: {what}", path.display()));
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(e) => return Err(CommandError::failed(format!("{}: {e}", path.display()))),
        };
        Owners::new([]).check(&path).map_err(|why| CommandError::wrong(why).hint(way_out(&path)))?;
        crate::value::parse_toml(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))
    }

    /// Replaces the file in `dir`.
    pub fn store(&self, dir: &Path) -> Result<(), CommandError> {
        let failed = |e: std::io::Error| CommandError::failed(format!("{}: {e}", place(dir).display()));
        let text = toml::to_string(self).map_err(CommandError::failed)?;
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        writeln!(
            file,
            "# Permissions of project files, written by `atoll trust`. A changed file must be trusted again."
        )
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
        file.persist(place(dir)).map(drop).map_err(|e| failed(e.error))
    }

    /// The permissions of this file and of the options in `allow`, for every run.
    pub fn grants(&self, allow: &PermissionFlags) -> Result<Grants, CommandError> {
        let mut grants = Grants::default();
        for name in self.secrets.iter().chain(&allow.secrets) {
            if !is_secret_name(name) {
                return Err(CommandError::usage(
                    "`--allow-secret` takes the name of an environment variable, never a value",
                ));
            }
            grants.allow(Permission::Secret(name.clone()));
        }
        for host in self.egress.iter().chain(&allow.hosts) {
            grants.allow(Permission::Egress(host.clone()));
        }
        let mut files = GlobSetBuilder::new();
        for glob in &allow.files {
            let glob = Glob::new(glob).map_err(|e| CommandError::usage(format!("--allow-file: {e}")))?;
            files.add(glob);
        }
        grants.allow_files(files.build().map_err(CommandError::usage)?);
        for TrustedFile { path, digest, .. } in &self.files {
            grants.trust(path.clone(), *digest);
        }
        Ok(grants)
    }
}

/// The path of the file in the user's directory `dir`.
pub fn place(dir: &Path) -> PathBuf {
    dir.join("trust.toml")
}

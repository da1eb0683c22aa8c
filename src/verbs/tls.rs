//! `tls` of `scenario`: the certificate files of the user. They are read when they are used, so that private
//! keys are not recorded.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::rooted_fs::read_file;
use crate::scenario::{Tls, TlsGiven};
use crate::verb::{Context, Failure};

/// The maximum size of one file, in bytes.
const LARGEST: u64 = 1 << 20;

/// TLS with the target.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// File with certificates in PEM that are trusted instead of those of the machine.
    pub ca_cert: Option<String>,
    /// File with the client certificate in PEM.
    pub client_cert: Option<String>,
    /// File with its private key in PEM, without a password.
    pub client_key: Option<String>,
    /// Whether any certificate of the target is accepted. Default: `false`.
    pub insecure: bool,
}

impl TlsFiles {
    /// The contents of the files. Errors with `permanent` if one cannot be read or used.
    pub async fn read(self, cx: &Context) -> Result<Tls, Failure> {
        let project = cx.workspace.project.clone();
        let read = tokio::task::spawn_blocking(move || self.given(&project)).await;
        let given =
            read.map_err(|e| Failure::permanent(format!("the certificates cannot be read: {e}")))??;
        Tls::new(given).map_err(Failure::permanent)
    }

    fn given(self, project: &Path) -> Result<TlsGiven, Failure> {
        let curl = self.curl();
        let text = |name: &str, file: Option<String>| file.map(|file| read(project, name, &file)).transpose();
        Ok(TlsGiven {
            ca_cert: text("ca_cert", self.ca_cert)?,
            client_cert: text("client_cert", self.client_cert)?,
            client_key: text("client_key", self.client_key)?,
            insecure: self.insecure,
            curl,
        })
    }

    fn curl(&self) -> Vec<String> {
        let files = [("--cacert", &self.ca_cert), ("--cert", &self.client_cert), ("--key", &self.client_key)];
        let mut words: Vec<String> = files
            .into_iter()
            .filter_map(|(option, file)| Some([option.to_owned(), file.clone()?]))
            .flatten()
            .collect();
        words.extend(self.insecure.then(|| "--insecure".to_owned()));
        words
    }
}

fn read(project: &Path, name: &str, file: &str) -> Result<String, Failure> {
    let bytes = read_file(&project.join(file), LARGEST)
        .map_err(|e| Failure::permanent(format!("`{name}` {file} cannot be read: {e}")))?;
    String::from_utf8(bytes).map_err(|_| Failure::permanent(format!("`{name}` {file} is not a PEM file")))
}

//! Credentials in scenario files. They are read again from the files when a scenario is run, so that no
//! output, event or journal contains them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::scenario::{Scenario, ScenarioSource, credentials};
use crate::secrets::EnvSecrets;
use crate::value::Value;
use crate::verb::{Context, Failure, SecretText, Secrets};
use crate::verbs::scenario_load::CredentialedScenarios;

/// Cache of scenario files that were read again, by location.
#[derive(Default)]
pub(super) struct Literals {
    read: Mutex<HashMap<PathBuf, Arc<RestoredFiles>>>,
}

/// Scenario files, and the credentials in all of them: the program may show those of one scenario in another.
struct RestoredFiles {
    written: CredentialedScenarios,
    credentials: Arc<dyn Secrets>,
}

/// The values that must be masked while a scenario is run.
pub(super) struct HiddenValues {
    /// The secrets of the run, and those in the files of the scenario.
    pub(super) secrets: Arc<dyn Secrets>,
    /// Those in the files, if any.
    pub(super) credentials: Option<Arc<dyn Secrets>>,
}

impl Literals {
    /// Puts the removed credentials back into `scenario`, and returns the values to mask.
    pub(super) async fn restore(
        &self,
        scenario: &mut Scenario,
        cx: &Context,
    ) -> Result<HiddenValues, Failure> {
        let secrets = cx.secrets.clone();
        let Some(source) = scenario.source.take() else {
            return Ok(HiddenValues { secrets, credentials: None });
        };
        let files = self.files(&source, scenario, cx).await?;
        let written = files.written.scenarios.iter().find(|written| written.id == scenario.id);
        // The same files were read differently by another version of Atoll.
        if !written.is_some_and(|written| credentials::restore(scenario, written)) {
            return Err(changed(scenario, "is read in another way now"));
        }
        let credentials = files.credentials.clone();
        let secrets = Arc::new(CombinedSecrets { secrets, credentials: credentials.clone() });
        Ok(HiddenValues { secrets, credentials: Some(credentials) })
    }

    /// Loads the files of `source`, if they are unchanged.
    async fn files(
        &self,
        source: &ScenarioSource,
        scenario: &Scenario,
        cx: &Context,
    ) -> Result<Arc<RestoredFiles>, Failure> {
        let place = cx.workspace.project.join(&source.path);
        let known = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |written: &CredentialedScenarios| difference(source, scenario, written).is_none();
        let earlier = known().get(&place).cloned();
        if let Some(files) = earlier.filter(|files| fits(&files.written)) {
            return Ok(files);
        }
        let (dir, shown) = (place.clone(), source.path.clone());
        let read = tokio::task::spawn_blocking(move || CredentialedScenarios::read(&dir, &shown)).await;
        let read = read.map_err(|e| changed(scenario, &format!("cannot be read: {e}")))?;
        let written = read.map_err(|e| changed(scenario, &format!("cannot be read: {}", e.message)))?;
        if let Some(what) = difference(source, scenario, &written) {
            return Err(changed(scenario, &what));
        }
        let values = written.scenarios.iter().flat_map(credentials::values);
        let values = values.enumerate().map(|(n, value)| (n.to_string(), value));
        let credentials = Arc::new(EnvSecrets::from_values(values));
        let files = Arc::new(RestoredFiles { written, credentials });
        known().insert(place, files.clone());
        Ok(files)
    }
}

/// A description of the first change in the files of a scenario.
fn difference(
    source: &ScenarioSource,
    scenario: &Scenario,
    written: &CredentialedScenarios,
) -> Option<String> {
    match written.digest(&scenario.file) {
        None => Some("does not exist anymore".to_owned()),
        Some(digest) if digest != source.digest => Some("has changed".to_owned()),
        Some(_) if written.others != source.others => {
            Some("is unchanged, but a fixture or a file that scenarios refer to has changed".to_owned())
        }
        Some(_) => None,
    }
}

fn changed(scenario: &Scenario, what: &str) -> Failure {
    let (id, file) = (&scenario.id, &scenario.file);
    Failure::permanent(format!(
        "{file} {what}, and the credentials of the scenario `{id}` are not stored: they are read again from this file, as \
         long as it is the same"
    ))
    .hint("to use the current files, start a new run, or use `atoll resume RUN --replan`")
}

/// The secrets of the run, and additional values to mask.
struct CombinedSecrets {
    secrets: Arc<dyn Secrets>,
    credentials: Arc<dyn Secrets>,
}

impl Secrets for CombinedSecrets {
    fn get(&self, name: &str) -> Option<SecretText> {
        self.secrets.get(name)
    }
    fn of_settings(&self, name: &str) -> Option<SecretText> {
        self.secrets.of_settings(name)
    }
    fn trouble(&self, name: &str) -> Option<String> {
        self.secrets.trouble(name)
    }
    fn redact(&self, text: &str) -> String {
        self.secrets.redact(&self.credentials.redact(text))
    }
    fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.secrets.redact_bytes(&self.credentials.redact_bytes(bytes))
    }
    fn redact_head(&self, text: &str) -> String {
        self.secrets.redact_head(&self.credentials.redact_head(text))
    }
    fn cut(&self, text: &str, at: usize) -> usize {
        let cut = self.credentials.cut(text, self.secrets.cut(text, at));
        self.secrets.cut(text, cut)
    }
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        [self.secrets.places(text), self.credentials.places(text)].concat()
    }
    fn places_on_screen(&self, text: &str, wraps: &[usize]) -> Vec<(usize, usize)> {
        let places = |secrets: &Arc<dyn Secrets>| secrets.places_on_screen(text, wraps);
        [places(&self.secrets), places(&self.credentials)].concat()
    }
    fn redact_value(&self, value: &mut Value) {
        self.credentials.redact_value(value);
        self.secrets.redact_value(value);
    }
}

//! The environment of a program: its settings and its sidecars.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;

use super::input::{Egress, FileMount, ReadyWhen, ServiceInput};
use crate::value::Value;
use crate::verb::Failure;
use crate::verbs::secret::TextOrSecret;

/// An environment, from `environment_load`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServiceEnvironment {
    /// Settings of the program.
    pub program: ProgramSettings,
    /// Sidecar services by name, with their images.
    pub services: Map<String, Value>,
}

/// The program's settings in an environment. Settings that are not in it are missing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProgramSettings {
    name: Option<String>,
    command: Option<Vec<String>>,
    #[schemars(with = "Option<Map<String, Value>>")]
    env: Option<IndexMap<String, TextOrSecret>>,
    port: Option<u16>,
    ports: Option<Vec<u16>>,
    ready: Option<ReadyWhen>,
    memory: Option<String>,
    disk: Option<String>,
    cpus: Option<f64>,
    pids: Option<u64>,
    egress: Option<Egress>,
    files: Option<Vec<FileMount>>,
    #[schemars(with = "Option<Map<String, Value>>")]
    volumes: Option<IndexMap<String, PathBuf>>,
    seed: Option<Vec<String>>,
}

impl ServiceInput {
    /// The input with its environment merged. Errors if a service in it has no image or has unknown keys.
    pub fn within(mut self) -> Result<Self, Failure> {
        let Some(around) = self.environment.take() else { return Ok(self) };
        let ServiceEnvironment { program, services } = *around;
        for (name, service) in services {
            self.beside.insert(name.clone(), sidecar(&name, service)?);
        }
        for port in program.ports.iter().flatten() {
            if !self.ports.contains(port) {
                self.ports.push(*port);
            }
        }
        self.ports.sort_unstable();
        self.name = program.name.or(self.name);
        self.command = program.command.or(self.command);
        self.env = program.env.unwrap_or(self.env);
        self.port = program.port.unwrap_or(self.port);
        self.ready = program.ready.unwrap_or(self.ready);
        self.memory = program.memory.or(self.memory);
        self.disk = program.disk.or(self.disk);
        self.cpus = program.cpus.or(self.cpus);
        self.pids = program.pids.or(self.pids);
        self.egress = program.egress.unwrap_or(self.egress);
        self.files = program.files.unwrap_or(self.files);
        self.volumes = program.volumes.unwrap_or(self.volumes);
        self.seed = program.seed.unwrap_or(self.seed);
        Ok(self)
    }
}

fn sidecar(name: &str, service: Value) -> Result<ServiceInput, Failure> {
    if service.get("image").and_then(Value::as_str).is_none() {
        return Err(Failure::permanent(format!("the service `{name}` of the environment has no image"))
            .hint("build it first: `environment_load = { …, build = true }`"));
    }
    ServiceInput::deserialize(service)
        .map_err(|e| Failure::permanent(format!("the service `{name}` of the environment: {e}")))
}

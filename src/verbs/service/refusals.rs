//! Errors of the input that are found before an attempt.

use std::path::{Component, Path};

use super::input::{Egress, MAIN, ReadyWhen, ReadyWord, ServiceInput, SidecarFailure, read_host};
use crate::runtime::service::{Disorder, own_port, same_port, start_stages};
use crate::verb::{Failure, Refusal, pointer};
use crate::verbs::null_characters::{names_of_variables, with_null};
use crate::verbs::size::size;

impl ServiceInput {
    /// Errors that do not depend on the machine.
    pub fn input_refusals(&self) -> Vec<Refusal> {
        if self.image.is_some() == self.target.is_some() {
            let found = if self.image.is_some() { "both" } else { "neither" };
            let failure =
                Failure::permanent(format!("exactly one of `image` and `target` is required, found {found}"))
                    .hint("set `image` to start one, or `target` to the URL of an already running program");
            return vec![Refusal::among(&["image", "target"], failure)];
        }
        if let Some(target) = &self.target {
            let is_url = target.starts_with("http://") || target.starts_with("https://");
            let failure = || {
                Failure::permanent(format!("`target` is not a valid URL: `{target}`"))
                    .hint("start it with http:// or https://")
            };
            return if is_url { Vec::new() } else { vec![Refusal::of("/target", failure())] };
        }
        if self.environment.is_none() {
            return self.refusals_by_itself();
        }
        // The settings of the environment have to be merged first.
        match self.clone().within() {
            Ok(whole) => {
                let wrong = whole.refusals_by_itself();
                wrong.into_iter().map(|refusal| refusal.with("/environment")).collect()
            }
            Err(failure) => vec![Refusal::of("/environment", failure)],
        }
    }

    fn refusals_by_itself(&self) -> Vec<Refusal> {
        let name = self.name.as_deref().and_then(|name| checked_name(name).err());
        let mut found: Vec<Refusal> = name.map(|failure| Refusal::of("/name", failure)).into_iter().collect();
        found.extend(self.own());
        for (name, with) in &self.beside {
            let at = pointer("/beside", name);
            found.extend(checked_name(name).err().map(|failure| Refusal::key(at.clone(), failure)));
            found.extend(
                with.invalid_sidecar_key(name)
                    .map(|(key, failure)| Refusal::among(&[key], failure).below(&at)),
            );
            found.extend(with.own().into_iter().map(|refusal| refusal.below(&at)));
        }
        if found.is_empty() {
            found.extend(self.together());
        }
        found
    }

    /// Errors of the services together: names, order and ports.
    fn together(&self) -> Vec<Refusal> {
        let main = self.name.as_deref().unwrap_or(MAIN);
        let members: Vec<(&str, &Self)> = std::iter::once((main, self))
            .chain(self.beside.iter().map(|(name, with)| (name.as_str(), with)))
            .collect();
        let at = |index: usize| if index == 0 { String::new() } else { pointer("/beside", members[index].0) };
        let starts: Vec<(&str, &[String])> =
            members.iter().map(|(name, with)| (*name, with.after.as_slice())).collect();
        if let Err(Disorder { members, after, failure }) = start_stages(&starts) {
            let last = members.iter().rev().find(|index| !starts[**index].1.is_empty()).copied();
            let place = match (after, last) {
                (Some(n), _) => Refusal::of(format!("{}/after/{n}", at(members[0])), failure),
                (None, Some(last)) => Refusal::of(format!("{}/after", at(last)), failure),
                (None, None) => Refusal::key(at(members.last().copied().unwrap_or(0)), failure),
            };
            let refusal = members.iter().fold(place.with("/name"), |refusal, index| {
                if after.is_some() { refusal } else { refusal.with(format!("{}/after", at(*index))) }
            });
            return vec![refusal];
        }
        let mut found = Vec::new();
        for (index, (name, with)) in members.iter().enumerate() {
            for (other, (earlier, before)) in members.iter().enumerate().take(index) {
                if let Some(port) = with.listens().find(|port| before.listens().any(|other| other == *port)) {
                    let refusal = on_ports(&at(index), same_port(earlier, name, port));
                    found.push(
                        ["port", "ports", "ready"]
                            .iter()
                            .fold(refusal, |refusal, key| refusal.with(pointer(&at(other), key))),
                    );
                }
            }
            found.extend(with.reaches_itself(name, &at(index)));
        }
        found
    }

    /// The ports at which other services reach it.
    fn listens(&self) -> impl Iterator<Item = u16> {
        let session = matches!(self.ready, ReadyWhen::Word(ReadyWord::None));
        std::iter::once(self.port).filter(move |_| !session).chain(self.ports.iter().copied())
    }

    /// An allowed host on a port that the service itself uses.
    fn reaches_itself(&self, name: &str, at: &str) -> Option<Refusal> {
        let Egress::Hosts(hosts) = &self.egress else { return None };
        let own = |(n, host): (usize, &String)| {
            let (host, port) = read_host(host).ok()?;
            let failure = self.listens().any(|own| own == port).then(|| own_port(name, &host, port))?;
            Some(on_ports(at, failure).with(format!("{at}/egress/{n}")))
        };
        hosts.iter().enumerate().find_map(own)
    }

    /// The first key that a sidecar cannot have.
    fn invalid_sidecar_key(&self, name: &str) -> Option<(&'static str, Failure)> {
        let odd = [
            (self.name.is_some(), "name"),
            (!self.beside.is_empty(), "beside"),
            (self.ahead.is_some(), "ahead"),
            (self.environment.is_some(), "environment"),
            (self.target.is_some(), "target"),
            (self.blame != SidecarFailure::Tell, "blame"),
        ];
        let (_, key) = odd.into_iter().find(|(given, _)| *given)?;
        let message = format!("`beside.{name}` cannot have `{key}`: only the held service can");
        Some((key, Failure::permanent(message)))
    }

    /// Errors of one service on its own.
    fn own(&self) -> Vec<Refusal> {
        let mut found = Vec::new();
        let mut note = |at: String, checked: Result<(), Failure>| {
            found.extend(checked.err().map(|failure| Refusal::of(at, failure)));
        };
        for (volume, at) in &self.volumes {
            note(pointer("/volumes", volume), checked_name(volume).and_then(|()| absolute(at)));
        }
        if let Egress::Hosts(hosts) = &self.egress {
            for (n, host) in hosts.iter().enumerate() {
                note(format!("/egress/{n}"), read_host(host).map(drop));
            }
        }
        for (n, put) in self.files.iter().enumerate() {
            note(format!("/files/{n}/at"), absolute(&put.at));
        }
        note("/memory".to_owned(), size("memory", self.memory.as_deref()).map(drop));
        note("/disk".to_owned(), size("disk", self.disk.as_deref()).map(drop));
        let memory = size("memory", self.memory.as_deref()).ok().flatten();
        let out_of_range = [
            ("/cpus", self.cpus.is_some_and(|cpus| !(0.01..=1024.0).contains(&cpus))),
            ("/pids", self.pids == Some(0)),
            ("/memory", memory.is_some_and(|memory| memory < 6 << 20)),
            ("/port", self.port == 0),
            ("/ports", self.ports.contains(&0)),
        ];
        for (at, _) in out_of_range.into_iter().filter(|(_, wrong)| *wrong) {
            note(at.to_owned(), Err(out_of_range_failure()));
        }
        found.extend(self.of_environment());
        if let ReadyWhen::Table(table) = &self.ready {
            found.extend(table.condition().err().map(|failure| Refusal::of("/ready", failure)));
            let stray = table.stray_port(self.port, &self.ports);
            let stray = stray.map(|failure| Refusal::of("/ready/port", failure).with("/port").with("/ports"));
            found.extend(stray);
        }
        found
    }

    /// Errors of its variables and command lines.
    fn of_environment(&self) -> Vec<Refusal> {
        let mut found: Vec<Refusal> = names_of_variables("/env", self.env.keys()).collect();
        found.extend(self.env.iter().filter_map(|(name, value)| {
            value.unusable_variable(&pointer("/env", name), &format!("the variable `{name}` of the service"))
        }));
        let lines =
            [("/command", self.command.as_deref().unwrap_or_default()), ("/seed", self.seed.as_slice())];
        for (key, lines) in lines {
            let nulls = lines.iter().enumerate().filter_map(|(at, text)| {
                with_null(&format!("{key}/{at}"), text, "the command line of the service")
            });
            found.extend(nulls);
        }
        if let ReadyWhen::Table(table) = &self.ready {
            let texts = [("/ready/command", &table.command), ("/ready/http", &table.http)];
            found.extend(
                texts
                    .into_iter()
                    .filter_map(|(at, text)| with_null(at, text.as_deref()?, "the condition of the service")),
            );
        }
        let image = self.image.as_deref().unwrap_or_default();
        found.extend(with_null("/image", image, "the name of the image"));
        found
    }
}

/// A refusal that depends on the ports of the service at `at`.
fn on_ports(at: &str, failure: Failure) -> Refusal {
    let mut refusal = Refusal::of(pointer(at, "port"), failure);
    if !at.is_empty() {
        refusal.at.insert(0, at.to_owned());
    }
    ["ports", "ready"].iter().fold(refusal, |refusal, key| refusal.with(pointer(at, key)))
}

fn out_of_range_failure() -> Failure {
    Failure::permanent("a limit or port of the service is out of range")
        .hint("cpus from 0.01 to 1024, pids and ports from 1, memory from 6m")
}

/// Names are host names: other services use them in URLs.
fn checked_name(name: &str) -> Result<(), Failure> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() < 64 && name.chars().all(inner) && !name.starts_with('-') && !name.is_empty() {
        return Ok(());
    }
    Err(Failure::permanent(format!("`{name}` is not a valid name for a service or volume"))
        .hint("use lower-case letters, digits and `-`, as in the name of a host"))
}

fn absolute(path: &Path) -> Result<(), Failure> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let has_null = path.to_string_lossy().contains('\0');
    if !has_null && path.is_absolute() && path != Path::new("/") && path.components().all(plain) {
        return Ok(());
    }
    Err(Failure::permanent(format!("{} is not an absolute path of a directory", path.display()))
        .hint("write it like \"/data\""))
}

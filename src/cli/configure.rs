//! `atoll configure [PROVIDER]`: keeps a provider's key, or says where keys come from.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use secrecy::ExposeSecret as _;

use super::{Desk, Done, Exit, Settings, Stop, house, masked};
use crate::llm::registry::Provider;
use crate::secrets::file::{self, Keys};

/// `atoll configure`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The provider whose key is stored; without it, the command prints where each provider's key comes from
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Remove the stored key
    #[arg(long, requires = "provider")]
    remove: bool,
}

/// Keeps a key.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let registry = house::registry(&desk.settings)?;
    let path = place(&desk.settings)?;
    let Some(name) = &ask.provider else {
        let keys = file::load(&path).map_err(Stop::wrong)?;
        let lines = registry.providers().map(|provider| line(provider, &keys));
        desk.face.print(&lines.collect::<String>())?;
        return Ok(Exit::REACHED);
    };
    let provider = registry.provider(name);
    let provider = provider.map_err(|error| Stop { hint: error.hint.clone(), ..Stop::usage(error) })?;
    let Some(variable) = &provider.key_env else {
        return Err(Stop::usage(format!("{name} needs no key")));
    };
    let key = if ask.remove { None } else { Some(asked(name)?) };
    let kept = key.is_some();
    file::store(&path, variable, key).map_err(Stop::failed)?;
    let place = path.display();
    desk.face.say(&if kept {
        format!(
            "the key of {name} is in {place}, for you alone; {variable} in the environment comes before it"
        )
    } else {
        format!("{place} has no key of {name} any more")
    });
    Ok(Exit::REACHED)
}

fn asked(name: &str) -> Result<crate::verb::SecretText, Stop> {
    if std::io::stdin().is_terminal() {
        // What was typed before is no key.
        super::typed::Typed::default().early();
    }
    let key = masked::read(&format!("key of {name}"));
    let key = key.map_err(|e| Stop::failed(format!("no key could be read: {e}")))?;
    let key = key.ok_or_else(|| Stop::told(Exit::CANCELLED))?;
    let sound = |c: char| c.is_ascii_graphic();
    if key.expose_secret().is_empty() {
        return Err(Stop::usage("that is no key: it is empty"));
    }
    if !key.expose_secret().chars().all(sound) {
        return Err(Stop::usage("that is no key: it has characters that no key can have"));
    }
    Ok(key)
}

/// The file of keys, in the user's own directory.
pub fn place(settings: &Settings) -> Result<PathBuf, Stop> {
    let dir = settings.user.as_ref();
    dir.map(|dir| dir.join("keys.toml"))
        .ok_or_else(|| Stop::failed("there is no directory for settings").hint("set HOME or XDG_CONFIG_HOME"))
}

fn line(provider: &Provider, keys: &Keys) -> String {
    let mut text = format!("{:18} ", provider.name);
    let _ = match &provider.key_env {
        None => writeln!(text, "needs no key"),
        Some(name) if Settings::environment(name).is_some() => writeln!(text, "{name} of the environment"),
        Some(name) if keys.contains_key(name) => writeln!(text, "{name} of keys.toml"),
        Some(name) => match provider.key_command.first() {
            Some(program) => writeln!(text, "{name} as `{program}` prints it"),
            None => writeln!(text, "no key: {name} is not set"),
        },
    };
    text
}

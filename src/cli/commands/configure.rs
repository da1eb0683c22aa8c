//! `atoll configure [PROVIDER]`: stores a provider's key, or shows where keys come from.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use secrecy::ExposeSecret as _;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::project::settings::Settings;
use crate::cli::terminal::password_input;
use crate::cli::wiring;
use crate::llm::registry::Provider;
use crate::secrets::file::{self, Keys};

/// `atoll configure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The provider whose key is stored; without it, the command prints where each provider's key comes from
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Remove the stored key
    #[arg(long, requires = "provider")]
    remove: bool,
}

/// Stores a key.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let registry = wiring::registry(&app.settings)?;
    let path = wiring::keys_file(&app.settings)?;
    let Some(name) = &args.provider else {
        let keys = file::load(&path).map_err(CommandError::wrong)?;
        let lines = registry.providers().map(|provider| line(provider, &keys));
        app.terminal.print(&lines.collect::<String>())?;
        return Ok(ExitStatus::REACHED);
    };
    let provider = registry.provider(name);
    let provider =
        provider.map_err(|error| CommandError { hint: error.hint.clone(), ..CommandError::usage(error) })?;
    let Some(variable) = &provider.key_env else {
        return Err(CommandError::usage(format!("{name} needs no key")));
    };
    let key = if args.remove { None } else { Some(asked(name)?) };
    let kept = key.is_some();
    file::store(&path, variable, key).map_err(CommandError::failed)?;
    let place = path.display();
    app.terminal.say(&if kept {
        format!(
            "stored the key of {name} in {place}, readable only by you; the environment variable {variable} overrides it"
        )
    } else {
        format!("removed the key of {name} from {place}")
    });
    Ok(ExitStatus::REACHED)
}

fn asked(name: &str) -> Result<crate::verb::SecretText, CommandError> {
    if std::io::stdin().is_terminal() {
        // Input that was typed earlier is not the key.
        crate::cli::terminal::keyboard::Keyboard::default().early();
    }
    let key = password_input::read(&format!("key of {name}"));
    let key = key.map_err(|e| CommandError::failed(format!("no key could be read: {e}")))?;
    let key = key.ok_or_else(|| CommandError::told(ExitStatus::CANCELLED))?;
    let sound = |c: char| c.is_ascii_graphic();
    if key.expose_secret().is_empty() {
        return Err(CommandError::usage("the key is empty"));
    }
    if !key.expose_secret().chars().all(sound) {
        return Err(CommandError::usage("the key contains invalid characters"));
    }
    Ok(key)
}

fn line(provider: &Provider, keys: &Keys) -> String {
    let mut text = format!("{:18} ", provider.name);
    let _ = match &provider.key_env {
        None => writeln!(text, "needs no key"),
        Some(name) if Settings::environment(name).is_some() => writeln!(text, "{name} in the environment"),
        Some(name) if keys.contains_key(name) => writeln!(text, "{name} in keys.toml"),
        Some(name) => match provider.key_command.first() {
            Some(program) => writeln!(text, "{name} from the output of `{program}`"),
            None => writeln!(text, "no key: {name} is not set"),
        },
    };
    text
}

//! The key file that `atoll configure` writes: `NAME = "key"`, readable only for its owner.
#![expect(clippy::disallowed_methods, reason = "a door: reads and writes the key file")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::ExposeSecret as _;

use crate::rooted_fs::read_text;
use crate::verb::SecretText;

/// Keys by the name of the environment variable that they replace.
pub type Keys = BTreeMap<String, SecretText>;

/// The keys in the file at `path`; empty if it is missing. A file that others can read is refused.
pub fn load(path: &Path) -> Result<Keys, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let state = match std::fs::metadata(path) {
        Ok(state) => state,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Keys::new());
        }
        Err(e) => return Err(failed(&e)),
    };
    if state.permissions().mode() & 0o077 != 0 {
        return Err(failed(&"is readable for other users: run `chmod 600` on it, and replace the keys"));
    }
    let text = read_text(path).map_err(|e| failed(&e))?;
    // A parser error would show the line with the key.
    let table: BTreeMap<String, String> =
        crate::value::parse_toml(&text).map_err(|_| failed(&"is not a table of names and texts"))?;
    Ok(table.into_iter().map(|(name, key)| (name, SecretText::from(key))).collect())
}

/// Saves `key` under `name` in the file at `path`, or removes it. The file is replaced as a whole.
pub fn store(path: &Path, name: &str, key: Option<SecretText>) -> Result<(), String> {
    let mut keys = load(path)?;
    match key {
        Some(key) => keys.insert(name.to_owned(), key),
        None => keys.remove(name),
    };
    write(path, &keys).map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

fn write(path: &Path, keys: &Keys) -> std::io::Result<()> {
    let dir = path.parent().ok_or_else(|| std::io::Error::other("the path has no directory"))?;
    std::fs::create_dir_all(dir)?;
    // Temporary files are private from the start.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "# Keys, written by `atoll configure`. Keep this file private.")?;
    for (name, key) in keys {
        let line = toml::Table::from_iter([(name.clone(), key.expose_secret().into())]);
        write!(file, "{line}")?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_their_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("atoll/keys.toml");
        assert!(load(&path).unwrap().is_empty());
        store(&path, "A_KEY", Some("one\"two".to_owned().into())).unwrap();
        store(&path, "B_KEY", Some("b".to_owned().into())).unwrap();
        store(&path, "B_KEY", None).unwrap();
        let keys = load(&path).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys["A_KEY"].expose_secret(), "one\"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(&path).unwrap_err().contains("is readable for other users"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "A_KEY = sk-secret").unwrap();
        assert!(!load(&path).unwrap_err().contains("sk-secret"));
    }
}

//! Records which process owns a resource, to distinguish leftovers of dead processes from resources in use.
#![expect(clippy::disallowed_methods, reason = "reads the process table")]

/// A process of this machine. Its start time distinguishes it from later processes with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity(String);

impl ProcessIdentity {
    /// This process.
    pub fn me() -> Self {
        let id = std::process::id();
        Self(format!("{id}-{}", started(id).unwrap_or_default()))
    }

    /// Parses a recorded owner.
    pub fn read(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the process still runs.
    pub fn is_alive(&self) -> bool {
        self.0.split_once('-').is_some_and(|(id, start)| {
            id.parse().ok().and_then(started).is_some_and(|actual| actual == start)
        })
    }
}

/// Start time of the process in clock ticks since boot; `None` if it does not exist or is a zombie.
fn started(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(ToString::to_string)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        assert!(ProcessIdentity::me().is_alive());
        let (id, _) =
            ProcessIdentity::me().0.split_once('-').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(!ProcessIdentity::read(&format!("{id}-1")).is_alive());
        assert!(!ProcessIdentity::read("nonsense").is_alive());
    }
}

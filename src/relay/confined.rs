//! Rights that the agent of a sandbox drops before it starts programs, for itself and for them.

use std::io;

use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use nix::sys::prctl;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

/// The part that needs capabilities: removes every capability from the bounding set, so that no program can
/// regain one, and, if the kernel supports it, limits local sockets and signals to the sandbox.
pub(super) fn give_up_before() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        // The capability may be unknown to the kernel or already removed.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let scopes = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let scoped = scopes.scope(Scope::AbstractUnixSocket | Scope::Signal).and_then(Ruleset::create);
    // If the kernel is too old for this, the system call filter is stricter.
    let _ = scoped.and_then(landlock::RulesetCreated::restrict_self);
    Ok(())
}

/// The rest, after switching to the final user: its own capabilities, and being traced by the programs that
/// it starts.
pub(super) fn give_up_rest() -> io::Result<()> {
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Whether this kernel can limit abstract local sockets to a sandbox.
pub(crate) fn scopes_local_sockets() -> bool {
    let hard = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    hard.scope(Scope::AbstractUnixSocket).and_then(Ruleset::create).is_ok()
}

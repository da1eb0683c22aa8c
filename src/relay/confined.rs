//! What the agent of a sandbox gives up before it starts anything, and so for all that it starts.

use std::io;

use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use nix::sys::prctl;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

/// What needs capabilities: takes every capability out of the bounding set, so that no program can bring one back, and
/// where the kernel can, keeps local sockets and signals to what is inside.
pub(super) fn give_up_before() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        // One that the kernel does not know, or that is gone already, is no error.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let scopes = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let scoped = scopes.scope(Scope::AbstractUnixSocket | Scope::Signal).and_then(Ruleset::create);
    // Where the kernel is too old for it, the filter of system calls is stricter.
    let _ = scoped.and_then(landlock::RulesetCreated::restrict_self);
    Ok(())
}

/// What is left once it is the user that it is to be: its own capabilities, and being looked into by the programs that it starts.
pub(super) fn give_up_rest() -> io::Result<()> {
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Whether this kernel can keep local sockets with abstract names to a sandbox.
pub(crate) fn scopes_local_sockets() -> bool {
    let hard = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    hard.scope(Scope::AbstractUnixSocket).and_then(Ruleset::create).is_ok()
}

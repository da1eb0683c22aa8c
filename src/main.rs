//! The `atoll` binary.

use std::process::ExitCode;

/// The allocator of the system is a third slower if threads use memory that other threads have allocated.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map_while(|a| a.into_string().ok()).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == atoll::relay::WORD => atoll::relay::relay_main(rest),
        Some((word, rest)) if word == atoll::confine::WORD => atoll::confine::enter_main(rest),
        _ => atoll::cli::main(),
    }
}

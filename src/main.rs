//! The `atoll` binary.

fn main() -> std::process::ExitCode {
    atoll::cli::main()
}
